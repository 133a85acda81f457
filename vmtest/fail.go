package vmtest

import (
	"runtime"
	"strings"
	"testing"
)

// fail ends the test with err. On a goroutine that runs no test it only marks the test as
// failed and returns. There t.FailNow would end that goroutine alone, and whatever waits
// for it, such as an http.Client for its dial, would wait forever.
func fail(t testing.TB, err error) {
	t.Helper()
	switch t.(type) {
	case *testing.T, *testing.B, *testing.F, *setupTB:
		if !onTestGoroutine() {
			t.Error(err)
			return
		}
	}
	t.Fatal(err)
}

// onTestGoroutine reports whether the calling goroutine runs a test, a benchmark or a
// fuzz test, or its clean-ups.
func onTestGoroutine() bool {
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		frames := runtime.CallersFrames(pcs[:n])
		for {
			frame, more := frames.Next()
			if strings.HasPrefix(frame.Function, "testing.") {
				return true
			}
			if !more {
				break
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}
