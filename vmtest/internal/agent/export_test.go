package agent

import (
	"testing"
	"time"
)

// SetLeftoverWait sets how long a test's agent waits for output of processes that a
// command left behind.
func SetLeftoverWait(tb testing.TB, d time.Duration) { set(tb, &leftoverWait, d) }

// SetLingerTimeout sets how long a test's agent delivers data after a close.
func SetLingerTimeout(tb testing.TB, d time.Duration) { set(tb, &lingerTimeout, d) }

func set(tb testing.TB, at *time.Duration, d time.Duration) {
	was := *at
	*at = d
	tb.Cleanup(func() { *at = was })
}
