package deadline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestDeadlineIsStretched(t *testing.T) {
	for _, test := range []struct {
		env  string
		slow float64
		used time.Duration
		says string
	}{
		{"", 1, 10 * time.Second, "not done within 10s (Config.OpTimeout; VMTEST_TIMEOUT_SCALE stretches it)"},
		{"", 2.5, 25 * time.Second, "not done within 25s (Config.OpTimeout of 10s, times 2.5 because this host is that slow now)"},
		{"3", 1, 30 * time.Second, "not done within 30s (Config.OpTimeout of 10s, times 3 by VMTEST_TIMEOUT_SCALE)"},
		{"0.5", 2, 10 * time.Second, "not done within 10s (Config.OpTimeout of 10s, times 0.5 by VMTEST_TIMEOUT_SCALE, times 2 because this host is that slow now)"},
	} {
		t.Setenv("VMTEST_TIMEOUT_SCALE", test.env)
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			l := Limit{"not done", 10 * time.Second, "Config.OpTimeout"}
			ctx, cancel := l.stretch(t.Context(), func() float64 { return test.slow })
			defer cancel()
			assert.False(t, Struck(ctx))
			<-ctx.Done()
			assert.Equal(t, test.used, time.Since(began))
			assert.EqualError(t, context.Cause(ctx), test.says)
			assert.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
			assert.True(t, Struck(ctx))
		})
	}
}

func TestDeadlineWithoutAName(t *testing.T) {
	e := &Error{Limit: Limit{What: "no snapshot", Time: time.Minute}, scale: 1, slowness: 1}
	assert.EqualError(t, e, "no snapshot within 1m0s (VMTEST_TIMEOUT_SCALE stretches it)")
	e.slowness = 1.52
	assert.EqualError(t, e, "no snapshot within 1m31.2s (1m0s, times 1.5 because this host is that slow now)")
}

func TestWhatIsInTimeMeasuresNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := Limit{What: "not done", Time: time.Second}.stretch(t.Context(), func() float64 { panic("measured") })
		cancel()
		time.Sleep(2 * time.Second)
		assert.ErrorIs(t, context.Cause(ctx), context.Canceled)
		assert.False(t, Struck(ctx))
	})
}

func TestCallersDeadlineHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ctx, cancel := Limit{What: "not done", Time: time.Minute}.stretch(caller, func() float64 { return 10 })
		defer cancel()
		began := time.Now()
		<-ctx.Done()
		assert.Equal(t, time.Second, time.Since(began))
		assert.True(t, Struck(ctx))
	})
}
