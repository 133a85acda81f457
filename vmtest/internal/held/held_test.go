package held_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/lack"
	"example.org/systemd-vmtest/internal/ordinary"
	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/held"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// newCache gives the test a cache of its own.
func newCache(t *testing.T) string {
	t.Helper()
	cache := filepath.Join(t.TempDir(), "cache")
	t.Setenv("VMTEST_CACHE", cache)
	return cache
}

// newMachine returns a machine whose agent is in this process, so this host is the guest.
func newMachine(t *testing.T, name string) held.Machine {
	t.Helper()
	near, port, err := host.ConnPair("port")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { new(agent.Server).Serve(ctx, port) })
	t.Cleanup(func() { cancel(); serving.Wait() })
	session, err := link.Dial(t.Context(), near)
	require.NoError(t, err)
	t.Cleanup(func() { session.Close() })
	return held.Machine{
		Name: name, Image: "this host", HostKey: session.HostKey(),
		Connect: func(ctx context.Context) (net.Conn, error) { return session.Connection(ctx) },
	}
}

// hold holds a machine until the test ends.
func hold(t *testing.T, m held.Machine) held.Info {
	t.Helper()
	h, err := held.Hold(m)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.Close()) })
	return h.Info()
}

// attach returns a session with the agent of a machine.
func attach(t *testing.T, dir string) *link.Client {
	t.Helper()
	conn, err := held.Connect(t.Context(), dir)
	require.NoError(t, err)
	session, err := link.Dial(t.Context(), conn)
	require.NoError(t, err)
	t.Cleanup(func() { session.Close() })
	return session
}

func TestAttach(t *testing.T) {
	newCache(t)
	h, err := held.Hold(newMachine(t, "TestIt/with space"))
	require.NoError(t, err)
	info, err := held.Find("TestIt/with space")
	require.NoError(t, err)
	assert.Equal(t, "TestIt_with_space", info.Name)
	assert.Equal(t, []any{"this host", os.Getpid(), false}, []any{info.Image, info.PID, info.Waiting})
	assert.WithinDuration(t, time.Now(), info.Since, time.Minute)
	first, second := attach(t, info.Dir), attach(t, info.Dir)
	for _, session := range []*link.Client{first, second} {
		var out bytes.Buffer
		require.NoError(t, session.Exec(t.Context(), link.Command{Args: []string{"echo", "hello"}, Stdout: &out}))
		assert.Equal(t, "hello\n", out.String())
	}
	assert.EqualError(t, held.Release(t.Context(), info.Dir),
		"release TestIt_with_space: its holder does not wait for that: end the shell that holds it")

	require.NoError(t, h.Close())
	<-first.Done()
	<-second.Done()
	_, err = held.Connect(t.Context(), info.Dir)
	require.Error(t, err)
	entries, err := os.ReadDir(filepath.Dir(info.Dir))
	require.NoError(t, err)
	require.Len(t, entries, 1, "what is left of a machine that is not held any more")
	assert.Equal(t, ".lock", entries[0].Name())
}

func TestFind(t *testing.T) {
	newCache(t)
	_, err := held.Find("")
	require.EqualError(t, err, `find machine: no machine is held (VMTEST_KEEP=1 go test keeps that of a failed test, and "vmtest shell" holds its own)`)
	first := hold(t, newMachine(t, "TestIt"))
	info, err := held.Find("")
	require.NoError(t, err)
	assert.Equal(t, first.Dir, info.Dir)
	second := hold(t, newMachine(t, "TestIt"))
	assert.Equal(t, "TestIt-2", second.Name)
	_, err = held.Find("")
	require.EqualError(t, err, "find machine: several are held: name one of TestIt, TestIt-2")
	_, err = held.Find("TestOther")
	require.EqualError(t, err, `find machine: "TestOther" is not held; held: TestIt, TestIt-2`)
	info, err = held.Find("TestIt-2")
	require.NoError(t, err)
	assert.Equal(t, second.Dir, info.Dir)
}

// The name of a machine may be left out where one alone is held.
func TestSplit(t *testing.T) {
	newCache(t)
	split := func(args ...string) []string {
		name, rest, err := held.Split(args)
		require.NoError(t, err)
		return append([]string{name}, rest...)
	}
	assert.Equal(t, []string{"TestIt", "true"}, split("TestIt", "true"), "none is held, and Find says so")
	hold(t, newMachine(t, "TestIt"))
	assert.Equal(t, []string{"TestIt", "true"}, split("TestIt", "true"))
	assert.Equal(t, []string{"TestIt"}, split("TestIt"))
	assert.Equal(t, []string{"", "ls", "-l"}, split("ls", "-l"), "the only one")
	hold(t, newMachine(t, "TestOther"))
	assert.Equal(t, []string{"TestOther", "true"}, split("TestOther", "true"))
	assert.Equal(t, []string{"ls", "-l"}, split("ls", "-l"), "Find says that one has to be named")
}

func TestNames(t *testing.T) {
	newCache(t)
	for wish, want := range map[string]string{
		"": "machine", "...": "machine", "../../x": "_.._x", ".lock": "lock", "a%h$(b)'\"\n*": "a_h_b_", "-oProxyCommand": "oProxyCommand",
		strings.Repeat("é", 200) + "x": "_x", strings.Repeat("a", 300): strings.Repeat("a", 100),
	} {
		assert.Equal(t, want, hold(t, newMachine(t, wish)).Name[:len(want)], "%q", wish)
	}
}

func TestRelease(t *testing.T) {
	newCache(t)
	m := newMachine(t, "TestIt")
	released := make(chan struct{})
	m.Release = sync.OnceFunc(func() { close(released) })
	info := hold(t, m)
	assert.True(t, info.Waiting)
	require.NoError(t, held.Release(t.Context(), info.Dir))
	<-released
	require.NoError(t, held.Release(t.Context(), info.Dir), "twice")
}

// The error of a guest that does not answer goes to the process that attaches.
func TestGuestIsGone(t *testing.T) {
	newCache(t)
	m := newMachine(t, "TestIt")
	m.Connect = func(context.Context) (net.Conn, error) { return nil, errors.New("the guest has\ngone") }
	_, err := held.Connect(t.Context(), hold(t, m).Dir)
	require.EqualError(t, err, "connect to TestIt: the guest has; gone")
}

// A holder that is stopped gives no answer. The caller's context ends the wait.
func TestStoppedHolder(t *testing.T) {
	newCache(t)
	m := newMachine(t, "TestIt")
	m.Connect = func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("no answer"))
	defer cancel()
	_, err := held.Connect(ctx, hold(t, m).Dir)
	require.EqualError(t, err, "connect to TestIt: no answer")
}

// An address of a socket has 107 bytes at most, and a path of the cache may be longer.
func TestLongPath(t *testing.T) {
	cache := filepath.Join(t.TempDir(), strings.Repeat("long/", 50))
	t.Setenv("VMTEST_CACHE", cache)
	info := hold(t, newMachine(t, "TestIt"))
	require.Greater(t, len(info.Dir), 250)
	require.NoError(t, attach(t, info.Dir).Exec(t.Context(), link.Command{Args: []string{"true"}}))
}

func TestUnwritableCache(t *testing.T) {
	cache := newCache(t)
	require.NoError(t, os.Mkdir(cache, 0o700))
	m := newMachine(t, "TestIt")
	err := ordinary.Run([]string{cache}, func() error {
		if err := os.Chmod(cache, 0o500); err != nil {
			return err
		}
		_, err := held.Hold(m)
		return err
	})
	var lacking *host.Error
	require.ErrorAs(t, err, &lacking)
	assert.Equal(t, host.CacheDirectory, lacking.Check)
}

// TestKilledHolder kills the process of TestHolder, whose directory goes with the next look.
func TestKilledHolder(t *testing.T) {
	if os.Getenv("HOLD") == "1" {
		hold(t, newMachine(t, "TestKilled"))
		os.Stdout.WriteString("held\n")
		<-t.Context().Done() // until it is killed
	}
	cache := newCache(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledHolder$")
	cmd.Env = append(os.Environ(), "HOLD=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 5))
	require.NoError(t, err)
	all, err := held.List()
	require.NoError(t, err)
	require.Len(t, all, 1, "the machine of another process")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.FileExists(t, filepath.Join(cache, "machines/TestKilled/machine.json"))

	_, err = held.Connect(t.Context(), all[0].Dir)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.ErrorContains(t, err, "connect to TestKilled: it is not held any more")
	all, err = held.List()
	require.NoError(t, err)
	require.Empty(t, all)
	require.NoDirExists(t, filepath.Join(cache, "machines/TestKilled"))
}

// Another user gets no answer, even where the directories let that user in.
func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		lack.Skip(t, "needs two users: run it as root")
	}
	newCache(t)
	info := hold(t, newMachine(t, "TestIt"))
	socket := filepath.Join(info.Dir, "socket")
	require.NoError(t, os.Chmod(socket, 0o666))
	for dir := info.Dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	file, err := os.CreateTemp("", "below") // TMPDIR may be this user's alone
	require.NoError(t, err)
	require.NoError(t, file.Close())
	t.Cleanup(func() { os.Remove(file.Name()) })
	err = ordinary.Run([]string{file.Name()}, func() error {
		_, err := held.Connect(t.Context(), info.Dir)
		return err
	})
	require.ErrorContains(t, err, "connect to TestIt: its holder gave no answer")
	_, err = held.Connect(t.Context(), info.Dir)
	require.NoError(t, err, "root")
}
