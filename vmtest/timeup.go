package vmtest

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// timeUp is where the evidence of a test goes that is still running when its time is up.
// go test prints no log of such a test. Tests replace it.
var timeUp io.Writer = os.Stderr

// watchTime prints the evidence of a test that is still running shortly before go test
// -timeout kills the process: one that waits for something else than its guest, because calls
// to that have ended by then. The test calls inTime when its end begins.
func watchTime(t testing.TB, m *Machine) (inTime func()) {
	end, ok := deadline.LastCall(context.Background())
	if !ok {
		return func() {}
	}
	var over atomic.Bool
	done := make(chan struct{})
	timer := time.AfterFunc(time.Until(end), func() {
		defer close(done)
		if over.Load() {
			return
		}
		text := evidenceOf(t, m)
		fmt.Fprintf(timeUp, "%s is still running, and its time is up (go test -timeout)\n%s\n", t.Name(), text)
	})
	return func() {
		over.Store(true)
		if !timer.Stop() {
			<-done // before the machine is closed
		}
	}
}
