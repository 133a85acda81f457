package vmtest

import (
	"flag"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// started is shortly before package testing starts the clock of -timeout.
var started = time.Now()

func init() { deadline.ProcessEnd = processEnd }

// processEnd returns when go test's -timeout ends this test binary. All its tests have
// the same deadline (testing.T.Deadline), which a context of a test does not show.
func processEnd() (end time.Time, ok bool) {
	if !testing.Testing() || !flag.Parsed() {
		return time.Time{}, false
	}
	f, _ := flag.Lookup("test.timeout").Value.(flag.Getter)
	if f == nil {
		return time.Time{}, false
	}
	timeout, _ := f.Get().(time.Duration)
	return started.Add(timeout), timeout > 0
}
