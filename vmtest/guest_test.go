package vmtest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// fatalT is a test that records the arguments of Fatal.
type fatalT struct {
	testing.TB
	text string
}

func (t *fatalT) Fatal(args ...any) {
	t.text = fmt.Sprint(args...)
	runtime.Goexit()
}

// fatal runs test, and returns the text of its call of Fatal, or "".
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

// OpTimeout does not limit a build on the host.
func TestOpTimeoutDoesNotLimitBuild(t *testing.T) {
	dir := t.TempDir()
	// A fake go command takes longer than OpTimeout.
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

// A read from a daemon that never answers ends after OpTimeout. Its error names the
// process that listens.
func TestDialDeadline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	g := &Guest{Machine: machineHere(t)}
	g.Machine.config.OpTimeout = 100 * time.Millisecond
	conn := g.Dial(t, "tcp", l.Addr().String())
	_, err = conn.Read(make([]byte, 1))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var netErr net.Error
	require.ErrorAs(t, err, &netErr)
	assert.True(t, netErr.Timeout())
	assert.Regexp(t, `^read tcp 127\.0\.0\.1:\d+ \(guest\): not done within .* \(Config\.OpTimeout.*\); a socket there is open in vmtest\.test\[\d+\]`, err.Error())
}

// A deadline that the caller sets replaces that of Dial.
func TestSetDeadlineReplacesDialDeadline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	g := &Guest{Machine: machineHere(t)}
	g.Machine.config.OpTimeout = time.Nanosecond
	conn, err := g.Machine.Dial(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	g.own(t, conn)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	assert.EqualError(t, err, "read tcp "+l.Addr().String()+" (guest): the deadline that the caller set is over")
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// OpTimeout bounds each read and not the connection: it works again after a read that
// ended, and is idle for as long as the test wants.
func TestConnAfterATimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	answer := make(chan struct{})
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		<-answer
		conn.Write([]byte("x"))
		io.Copy(io.Discard, conn)
	}()
	g := &Guest{Machine: machineHere(t)}
	g.Machine.config.OpTimeout = 100 * time.Millisecond
	conn := g.Dial(t, "tcp", l.Addr().String())
	_, err = conn.Read(make([]byte, 1))
	require.ErrorAs(t, err, new(*ConnError))
	g.Machine.config.OpTimeout = time.Minute
	close(answer)
	n, err := conn.Read(make([]byte, 1))
	assert.NoError(t, err)
	assert.Equal(t, 1, n)
	g.Machine.config.OpTimeout = 100 * time.Millisecond
	_, err = conn.Read(make([]byte, 1))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.NotContains(t, err.Error(), "a socket there", "the daemon owes no answer")
	require.NoError(t, conn.Close())
	assert.ErrorIs(t, conn.CloseWrite(), net.ErrClosed)
	assert.ErrorIs(t, (&Conn{Conn: closedConn()}).CloseWrite(), net.ErrClosed)
}

// A request to a port without a listener returns the error of the dial.
func TestHTTPClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	t.Cleanup(server.Close)
	g := &Guest{Machine: machineHere(t)}
	g.Machine.config.OpTimeout = time.Minute
	client := g.HTTPClient(t)
	r, err := client.Get(server.URL)
	require.NoError(t, err)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	assert.Equal(t, "hello", string(body))

	server.Close()
	_, err = client.Get(server.URL)
	require.Error(t, err)
	assert.ErrorContains(t, err, "dial tcp "+server.Listener.Addr().String()+" (guest): ")
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = g.Machine.Dial(t.Context(), "unix", filepath.Join(t.TempDir(), "none"))
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

// A method that fails on another goroutine returns there, and marks the test as failed.
func TestFailureOnAnotherGoroutine(t *testing.T) {
	if os.Getenv("VMTEST_FAIL_AWAY") == "1" {
		g := &Guest{Machine: machineHere(t)}
		g.Machine.config.OpTimeout = time.Minute
		client := &http.Client{Transport: &http.Transport{
			DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
				return g.Dial(t, network, address), nil
			},
		}}
		_, err := client.Get("http://127.0.0.1:1/")
		t.Log("the request returned:", err)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFailureOnAnotherGoroutine$", "-test.timeout=60s", "-test.v")
	cmd.Env = append(os.Environ(), "VMTEST_FAIL_AWAY=1")
	out, err := cmd.CombinedOutput()
	assert.Error(t, err, "exit status of the failed test")
	assert.Contains(t, string(out), "dial tcp 127.0.0.1:1 (guest): ")
	assert.Contains(t, string(out), "the request returned: ")
	assert.NotContains(t, string(out), "panic")
}

// A clean-up function can use the guest.
func TestGuestInCleanup(t *testing.T) {
	g := &Guest{Machine: machineHere(t)}
	g.Machine.config.OpTimeout = time.Minute
	out := ""
	t.Run("test", func(t *testing.T) {
		t.Cleanup(func() {
			require.Error(t, t.Context().Err())
			out = g.Run(t, "echo", "still here")
		})
	})
	assert.Equal(t, "still here\n", out)
}

// A wait with the context of a test ends early enough to collect evidence. Its error
// says how long the test waited for a slot.
func TestWaitLeavesTimeForEvidence(t *testing.T) {
	endProcess(t, deadline.Reserve+100*time.Millisecond)
	g := &Guest{Machine: machineHere(t), queued: 90 * time.Second}
	g.Machine.config.OpTimeout = time.Minute
	_, err := g.Machine.Run(t.Context(), "sleep", "1000")
	assert.ErrorContains(t, err, "the test's time is up (go test -timeout) but for 20s of evidence")
	text := fatal(t, func(t testing.TB) { g.Run(t, "true") })
	assert.Contains(t, text, "but for 20s of evidence")
	assert.Contains(t, text, "; the test waited 1m30s for a slot")
	assert.Contains(t, summarize(t.Context(), g.Machine).String(), "evidence from the guest", "evidence in the reserved time")
}

// endProcess lets the process, which may run for an hour, end after d.
func endProcess(t *testing.T, d time.Duration) {
	from, before := time.Now().Add(d-time.Hour), deadline.ProcessTime
	deadline.ProcessTime = func() (time.Time, time.Duration, bool) { return from, time.Hour, true }
	t.Cleanup(func() { deadline.ProcessTime = before })
}

func TestProcessTime(t *testing.T) {
	want, ok := t.Deadline()
	from, length, limited := deadline.ProcessTime()
	assert.Equal(t, ok, limited)
	if ok {
		assert.WithinDuration(t, want, from.Add(length), 5*time.Second)
		assert.False(t, from.Add(length).After(want), "not later than the test's own deadline")
	}
}

// VMTEST_SKIP=1 skips the tests that need a machine.
func TestSkip(t *testing.T) {
	t.Setenv("VMTEST_SKIP", "1")
	t.Run("start", func(t *testing.T) {
		t.Cleanup(func() { assert.True(t, t.Skipped()) })
		Start(t, Config{Image: "none"})
	})
	t.Run("template", func(t *testing.T) {
		t.Cleanup(func() { assert.True(t, t.Skipped()) })
		new(Template).Start(t)
	})
	t.Run("disk", func(t *testing.T) {
		t.Cleanup(func() { assert.True(t, t.Skipped()) })
		NewDisk(t, 1)
	})
}
