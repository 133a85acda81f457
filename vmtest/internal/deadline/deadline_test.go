package deadline

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDeadlineIsStretched(t *testing.T) {
	for _, test := range []struct {
		env  string
		slow float64
		used time.Duration
		says string
	}{
		{"", 1, 10 * time.Second, "not done within 10s (Config.OpTimeout; VMTEST_TIMEOUT_SCALE stretches it)"},
		{"", 2.5, 25 * time.Second, "not done within 25s (Config.OpTimeout of 10s, times 2.5 because the host was that slow)"},
		{"3", 1, 30 * time.Second, "not done within 30s (Config.OpTimeout of 10s, times 3 by VMTEST_TIMEOUT_SCALE)"},
		{"0.5", 2, 10 * time.Second, "not done within 10s (Config.OpTimeout of 10s, times 0.5 by VMTEST_TIMEOUT_SCALE, times 2 because the host was that slow)"},
	} {
		t.Setenv("VMTEST_TIMEOUT_SCALE", test.env)
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			l := Limit{What: "not done", Time: 10 * time.Second, Name: "Config.OpTimeout"}
			ctx, cancel := l.stretch(t.Context(), func() float64 { return test.slow })
			defer cancel()
			assert.False(t, Struck(ctx))
			select {
			case <-ctx.Done():
			case <-time.After(time.Hour):
				require.FailNow(t, "the limit of 10s does not end the context")
			}
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
	assert.EqualError(t, e, "no snapshot within 1m31.2s (1m0s, times 1.5 because the host was that slow)")
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

// A host that slowed the guest down until the limit was over is a slow one, although it is
// idle at that moment.
func TestPaceStretchesADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := Limit{What: "not done", Time: 10 * time.Second, Pace: func() func() float64 {
			return func() float64 { return time.Since(began).Seconds() / 4 }
		}}
		ctx, cancel := l.stretch(t.Context(), func() float64 { return 1 })
		defer cancel()
		<-ctx.Done()
		assert.Equal(t, 25*time.Second, time.Since(began))
		assert.EqualError(t, context.Cause(ctx), "not done within 25s (10s, times 2.5 because the host was that slow)")
	})
}

// endAfter lets the process of a test, which may run for an hour, end after d.
func endAfter(t *testing.T, d time.Duration) {
	from, before := time.Now().Add(d-time.Hour), ProcessTime
	ProcessTime = func() (time.Time, time.Duration, bool) { return from, time.Hour, true }
	t.Cleanup(func() { ProcessTime = before })
}

// No limit, however it is stretched, takes the time for evidence.
func TestProcessEndCutsADeadline(t *testing.T) {
	for _, test := range []struct {
		left time.Duration // of the process's time
		used time.Duration
		says string
	}{
		{time.Hour, 30 * time.Second, "not done within 30s (Config.OpTimeout of 10s, times 3 because the host was that slow)"},
		{Reserve + 15*time.Second, 15 * time.Second, "not done within 15s (Config.OpTimeout of 10s, times 3 because the host was that slow, cut by go test -timeout, less 20s for evidence)"},
		{Reserve + 5*time.Second, 5 * time.Second, "not done within 5s (Config.OpTimeout of 10s, cut by go test -timeout, less 20s for evidence)"},
		{time.Second, 1, "not done within 0s (Config.OpTimeout of 10s, cut by go test -timeout, less 20s for evidence)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			endAfter(t, test.left)
			began := time.Now()
			l := Limit{What: "not done", Time: 10 * time.Second, Name: "Config.OpTimeout"}
			ctx, cancel := l.stretch(t.Context(), func() float64 { return 3 })
			defer cancel()
			<-ctx.Done()
			used := test.used
			if strings.Contains(test.says, "cut by") {
				used += firstWord
			}
			assert.Equal(t, used, time.Since(began))
			assert.EqualError(t, context.Cause(ctx), test.says)
		})
	}
}

func TestBeforeEnd(t *testing.T) {
	before := ProcessTime
	t.Cleanup(func() { ProcessTime = before })
	ProcessTime = func() (time.Time, time.Duration, bool) { return time.Time{}, 0, false }
	ctx, cancel := BeforeEnd(t.Context())
	defer cancel()
	_, ok := ctx.Deadline()
	assert.False(t, ok, "the process has no end")
	synctest.Test(t, func(t *testing.T) {
		endAfter(t, time.Minute)
		ctx, cancel := BeforeEnd(t.Context())
		defer cancel()
		began := time.Now()
		<-ctx.Done()
		assert.Equal(t, time.Minute-Reserve, time.Since(began))
		assert.True(t, Struck(ctx))
		assert.EqualError(t, context.Cause(ctx), "the test's time is up (go test -timeout) but for 20s of evidence")
	})
}

// Evidence is collected in the time that is kept back for it.
func TestDeadlineForEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endAfter(t, 5*time.Second)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		ctx, cancel := Within(ForEvidence(over), Limit{What: "no evidence", Time: 10 * time.Second})
		defer cancel()
		ctx, cancel = BeforeEnd(ctx)
		defer cancel()
		<-ctx.Done()
		assert.Equal(t, 4*time.Second, time.Since(began))
	})
}

// A short -timeout leaves most of itself to the tests.
func TestReserveOfAShortProcess(t *testing.T) {
	before := ProcessTime
	t.Cleanup(func() { ProcessTime = before })
	synctest.Test(t, func(t *testing.T) {
		from := time.Now()
		ProcessTime = func() (time.Time, time.Duration, bool) { return from, 12 * time.Second, true }
		ctx, cancel := BeforeEnd(t.Context())
		defer cancel()
		<-ctx.Done()
		assert.Equal(t, 9*time.Second, time.Since(from))
		assert.EqualError(t, context.Cause(ctx), "the test's time is up (go test -timeout) but for 3s of evidence")
	})
}

// Evidence has a fixed time, on a slow host too.
func TestEvidenceIsNotStretched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := Limit{What: "no evidence", Time: time.Second}.stretch(ForEvidence(t.Context()), func() float64 { return 10 })
		defer cancel()
		<-ctx.Done()
		assert.Equal(t, time.Second, time.Since(began))
	})
}

func TestBrief(t *testing.T) {
	assert.Equal(t, 13*time.Millisecond, Brief(12678*time.Microsecond))
	assert.Equal(t, 1300*time.Millisecond, Brief(1267*time.Millisecond))
	assert.Equal(t, 90*time.Second, Brief(90*time.Second+3*time.Millisecond))
}
