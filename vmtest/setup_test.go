package vmtest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// logT is a test that records what is logged and may fail.
type logT struct {
	testing.TB
	log    []string
	failed bool
}

func (t *logT) Helper()                        {}
func (t *logT) Log(args ...any)                { t.log = append(t.log, fmt.Sprint(args...)) }
func (t *logT) Fail()                          { t.failed = true }
func (t *logT) FailNow()                       { t.Fail(); runtime.Goexit() }
func (t *logT) Error(args ...any)              { t.Log(args...); t.Fail() }
func (t *logT) Errorf(format string, a ...any) { t.Error(fmt.Sprintf(format, a...)) }
func (t *logT) Fatal(args ...any)              { t.Log(args...); t.FailNow() }
func (t *logT) Fatalf(format string, a ...any) { t.Fatal(fmt.Sprintf(format, a...)) }

// setUp calls setup for a machine that is gone, and reports whether setUp returned.
func setUp(t *testing.T, fake *logT, setup func(testing.TB, *Guest)) (returned bool) {
	m := machineHere(t)
	m.Kill()
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&Template{Setup: setup}).setUp(fake, m)
		returned = true
	}()
	<-done
	return returned
}

// The clean-ups of Setup run before setUp returns, the last one first.
func TestCleanUpsOfSetup(t *testing.T) {
	fake := &logT{TB: t, failed: true} // by something before
	assert.True(t, setUp(t, fake, func(t testing.TB, g *Guest) {
		t.Cleanup(func() { t.Log("first") })
		t.Cleanup(func() {
			t.Cleanup(func() { t.Log("of a clean-up") })
			t.Log("second")
		})
		t.Log("setup")
	}))
	assert.Equal(t, []string{"setup", "second", "of a clean-up", "first"}, fake.log)
}

// A Setup that fails its test in any way ends it, with evidence from the machine. Its
// clean-ups run.
func TestSetupThatFails(t *testing.T) {
	for name, setup := range map[string]func(testing.TB, *Guest){
		"Fail":    func(t testing.TB, _ *Guest) { t.Fail() },
		"FailNow": func(t testing.TB, _ *Guest) { t.FailNow() },
		"Error":   func(t testing.TB, _ *Guest) { t.Error("bad") },
		"Errorf":  func(t testing.TB, _ *Guest) { t.Errorf("bad") },
		"Fatal":   func(t testing.TB, _ *Guest) { t.Fatal("bad") },
		"Fatalf":  func(t testing.TB, _ *Guest) { t.Fatalf("bad") },
		"Guest":   func(t testing.TB, g *Guest) { g.Run(t, "true") },
		"clean-up": func(t testing.TB, g *Guest) {
			t.Cleanup(func() { t.FailNow() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := &logT{TB: t}
			cleaned := false
			assert.False(t, setUp(t, fake, func(t testing.TB, g *Guest) {
				t.Cleanup(func() { cleaned = true })
				setup(t, g)
			}))
			assert.True(t, cleaned)
			assert.True(t, fake.failed)
			assert.Contains(t, strings.Join(fake.log, "\n"), "evidence from the guest")
		})
	}
}

// On another goroutine than the test's, a method of a Guest marks Setup as failed and
// returns.
func TestSetupOnAnotherGoroutine(t *testing.T) {
	fake := &logT{TB: t}
	assert.False(t, setUp(t, fake, func(t testing.TB, g *Guest) {
		done := make(chan string)
		go func() { done <- g.Run(t, "true") }()
		assert.Empty(t, <-done)
	}))
	assert.True(t, fake.failed)
}

// A Setup that skips its test ends it and says nothing.
func TestSetupThatSkips(t *testing.T) {
	t.Run("skipped", func(t *testing.T) {
		t.Cleanup(func() { assert.True(t, t.Skipped()) })
		m := machineHere(t)
		(&Template{Setup: func(t testing.TB, _ *Guest) { t.Skip("expected") }}).setUp(t, m)
		t.Error("it returned")
	})
}
