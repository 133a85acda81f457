package slots

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestReminderRepeatsThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type notice struct {
			after time.Duration
			text  string
		}
		var said []notice
		began := time.Now()
		var ahead atomic.Int64
		r := startReminder(2, &ahead, func(text string) { said = append(said, notice{time.Since(began), text}) })
		ahead.Store(3)
		time.Sleep(firstNotice + time.Second)
		ahead.Store(2)
		time.Sleep(nextNotice)
		ahead.Store(1)
		time.Sleep(nextNotice)
		r.stop()
		time.Sleep(time.Hour)
		assert.Equal(t, []notice{
			{10 * time.Second, "waiting for a slot: 3 ahead, limit 2 (VMTEST_SLOTS)"},
			{40 * time.Second, "waiting for a slot: 2 ahead, limit 2 (VMTEST_SLOTS)"},
			{70 * time.Second, "waiting for memory for one more machine: 1 ahead, limit 2 (VMTEST_SLOTS)"},
		}, said)
	})
}

func TestShortWaitIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReminder(2, new(atomic.Int64), func(text string) { t.Error(text) })
		time.Sleep(firstNotice - time.Nanosecond)
		r.stop()
		time.Sleep(time.Hour)
		startReminder(2, new(atomic.Int64), nil).stop()
	})
}
