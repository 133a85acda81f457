package vmtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fatalT is a test that keeps what it fails with.
type fatalT struct {
	testing.TB
	text string
}

func (t *fatalT) Fatal(args ...any) {
	t.text = fmt.Sprint(args...)
	runtime.Goexit()
}

// fatal returns what a test fails with, or "".
func fatal(t *testing.T, test func(testing.TB)) string {
	t.Helper()
	fake := &fatalT{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(fake)
	}()
	<-done
	return fake.text
}

// A build on the host may take longer than an operation of the guest.
func TestBuildIsNotBoundByOpTimeout(t *testing.T) {
	dir := t.TempDir()
	const fake = "#!/bin/sh\ntest \"$1\" = list && exit\nsleep 1\necho built to the end\nexit 1\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(fake), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("VMTEST_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("VMTEST_GO_PREBUILT", "")
	m := machineHere(t)
	m.config.OpTimeout = time.Nanosecond
	g := &Guest{Machine: m}
	text := fatal(t, func(t testing.TB) { g.InstallGo(t, "./pkg", filepath.Join(dir, "program")) })
	assert.Equal(t, "build ./pkg for the guest: exit status 1:\nbuilt to the end", text)
}

// A daemon that accepts and never answers holds a test for OpTimeout.
func TestDialedConnectionHasADeadline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	g := &Guest{Machine: machineHere(t)}
	g.Machine.config.OpTimeout = time.Minute
	left := time.Until(g.deadline(t))
	assert.True(t, 30*time.Second < left && left <= time.Minute, "OpTimeout from now on: %v", left)
	assert.LessOrEqual(t, time.Until(g.deadline(lateT{t})), time.Duration(0), "the test has no time left but for evidence")

	g.Machine.config.OpTimeout = time.Second
	conn := g.Dial(t, "tcp", l.Addr().String())
	_, err = conn.Read(make([]byte, 1))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// A guest can be used in a clean-up, for as long as there is time for evidence.
func TestGuestInCleanUp(t *testing.T) {
	g := &Guest{Machine: machineHere(t)}
	g.Machine.config.OpTimeout = time.Minute
	out, late := "", error(nil)
	t.Run("test", func(t *testing.T) {
		t.Cleanup(func() {
			require.Error(t, t.Context().Err())
			out = g.Run(t, "echo", "still here")
			ctx, cancel := testContext(lateT{t})
			defer cancel()
			late = context.Cause(ctx)
		})
	})
	assert.Equal(t, "still here\n", out)
	assert.ErrorContains(t, late, "the test's time is up (go test -timeout) but for 20s of evidence")
}

// lateT is a test with little of its time left.
type lateT struct{ testing.TB }

func (lateT) Deadline() (time.Time, bool) { return time.Now().Add(evidenceTime), true }
