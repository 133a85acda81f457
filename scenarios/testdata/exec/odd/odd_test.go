// Package odd has tests that end in other ways than by passing.
package odd

import (
	"os"
	"syscall"
	"testing"
)

func TestFails(t *testing.T) { t.Error("as it should") }

func TestPanics(t *testing.T) {
	println("before the panic")
	panic("oh dear")
}

// TestHangs is for a -timeout, or for Ctrl-C.
func TestHangs(t *testing.T) {
	println("it hangs")
	select {}
}

// TestStops stops the whole process, so that its own timeout cannot end it.
func TestStops(t *testing.T) {
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

func FuzzFinds(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 0 {
			t.Error("found")
		}
	})
}
