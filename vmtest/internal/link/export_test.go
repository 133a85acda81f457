package link

import (
	"testing"
	"time"
)

// SetLingerTimeout sets how long connections of a test deliver data after a Close.
func SetLingerTimeout(tb testing.TB, d time.Duration) {
	was := lingerTimeout
	lingerTimeout = d
	tb.Cleanup(func() { lingerTimeout = was })
}

// SetMaxTreeBytes sets the limit of CopyOut for a directory while a test runs.
func SetMaxTreeBytes(tb testing.TB, n int64) {
	was := maxTreeBytes
	maxTreeBytes = n
	tb.Cleanup(func() { maxTreeBytes = was })
}

// ErrTreeTooLarge is errTreeTooLarge for tests.
var ErrTreeTooLarge = errTreeTooLarge
