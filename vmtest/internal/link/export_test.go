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
