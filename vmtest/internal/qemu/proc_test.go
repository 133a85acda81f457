package qemu

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestStoppedProcess(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	p := &Process{cmd: cmd}
	assert.False(t, p.Stopped())
	require.NoError(t, cmd.Process.Signal(syscall.SIGSTOP))
	// The kernel tells a parent when its child has stopped.
	_, err := unix.Wait4(cmd.Process.Pid, nil, unix.WUNTRACED, nil)
	require.NoError(t, err)
	assert.True(t, p.Stopped())
}

func TestThreadUsage(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := threadUsage(os.Getpid(), unix.Gettid())
	require.NoError(t, err)
	for began := time.Now(); time.Since(began) < 50*time.Millisecond; {
	}
	after, err := threadUsage(os.Getpid(), unix.Gettid())
	require.NoError(t, err)
	assert.Greater(t, after.Ran+after.Waited, before.Ran+before.Waited)

	_, err = threadUsage(os.Getpid(), 1<<30)
	assert.ErrorContains(t, err, "read processor time")
}

func TestParseSchedstat(t *testing.T) {
	u, ok := parseSchedstat([]byte("1500 2500 7\n"))
	assert.True(t, ok)
	assert.Equal(t, Usage{Ran: 1500, Waited: 2500}, u)
	for _, text := range []string{"", "0 0 0\n", "5\n", "a b c\n", "-1 5 0\n", "5 -1 0\n", "99999999999999999999 1 1\n"} {
		_, ok := parseSchedstat([]byte(text))
		assert.False(t, ok, text)
	}
}

func FuzzParseSchedstat(f *testing.F) {
	f.Add([]byte("1500 2500 7\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if u, ok := parseSchedstat(data); ok {
			assert.Positive(t, u.Ran)
			assert.GreaterOrEqual(t, u.Waited, time.Duration(0))
		}
	})
}
