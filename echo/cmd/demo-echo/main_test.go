package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	patience = 20 * time.Second // limit for a daemon that hangs

	// If execEnv is set, this test binary replaces itself with the daemon.
	execEnv   = "DEMO_ECHO_TEST_EXEC"   // path of the daemon
	nofileEnv = "DEMO_ECHO_TEST_NOFILE" // RLIMIT_NOFILE, optional
)

var (
	binary        string // demo-echo, built to log to journalSocket
	journalSocket string // in place of /run/systemd/journal/socket
)

func TestMain(m *testing.M) {
	if path := os.Getenv(execEnv); path != "" {
		fmt.Fprintln(os.Stderr, "become daemon:", become(path))
		os.Exit(125)
	}
	// go test takes a result from its cache if the test binary is the same. Without this
	// use, that would have none of the daemon's code.
	runtime.KeepAlive(main)
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// become sets LISTEN_PID to the pid of this process, which stays the same over
// exec(2), and executes path.
func become(path string) error {
	if err := os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	if limit, err := strconv.ParseUint(os.Getenv(nofileEnv), 10, 64); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	return syscall.Exec(path, append([]string{path}, os.Args[1:]...), os.Environ())
}

func buildAndRun(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "demo-echo")
	if err != nil {
		return 0, fmt.Errorf("make directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, journalSocket = filepath.Join(dir, "demo-echo"), filepath.Join(dir, "journal")
	build := exec.Command("go", "build", "-o", binary,
		"-ldflags", "-X github.com/coreos/go-systemd/v22/journal.journalSocket="+journalSocket, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build demo-echo: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// process is a running demo-echo.
type process struct {
	*exec.Cmd
	stderr bytes.Buffer // complete after wait
	done   chan error
}

// launch starts cmd and kills it at the end of the test.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd, done: make(chan error, 1)}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.stderr
	}
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		p.done <- cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	return p
}

// activated starts the daemon with files as descriptors 3, 4 and so on, as
// described in sd_listen_fds(3). It closes files.
func activated(t *testing.T, names string, files []*os.File, env []string, args ...string) *process {
	t.Helper()
	cmd := daemon(t, names, files, env)
	cmd.Args = append(cmd.Args, args...)
	p := launch(t, cmd)
	for _, f := range files {
		require.NoError(t, f.Close())
	}
	return p
}

// activatedLogging is like activated, with one listener, named echo. The daemon
// logs to stderr.
func activatedLogging(t *testing.T, stderr io.Writer, file *os.File, env ...string) *process {
	t.Helper()
	cmd := daemon(t, "echo", []*os.File{file}, env)
	cmd.Stderr = stderr
	p := launch(t, cmd)
	require.NoError(t, file.Close())
	return p
}

func daemon(t *testing.T, names string, files []*os.File, env []string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.ExtraFiles = files
	cmd.Env = append(os.Environ(), execEnv+"="+binary, "LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+names)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// wait returns the exit status.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case err := <-p.done:
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			require.NoError(t, err)
		}
		return p.ProcessState.ExitCode()
	case <-time.After(patience):
		require.FailNow(t, "demo-echo did not end")
		return -1
	}
}

func (p *process) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	require.NoError(t, p.Process.Signal(sig))
}

func listener(t *testing.T, network, address string) (file *os.File, addr string) {
	t.Helper()
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	if unix, ok := l.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false)
	}
	defer l.Close()
	file, err = l.(interface{ File() (*os.File, error) }).File()
	require.NoError(t, err)
	return file, l.Addr().String()
}

// pair returns the daemon's end of a connection and the client's.
func pair(t *testing.T) (passed *os.File, client *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fds[1]), "client")
	defer file.Close()
	conn, err := net.FileConn(file)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return os.NewFile(uintptr(fds[0]), "connection"), conn.(*net.UnixConn)
}

func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// roundTrip sends line, half-closes conn, and checks that only line comes back, and then
// the end. of, if any, names the daemon or the moment.
func roundTrip(t *testing.T, conn net.Conn, line string, of ...string) {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err := conn.Write([]byte(line))
	require.NoError(t, err)
	require.NoError(t, conn.(interface{ CloseWrite() error }).CloseWrite())
	got, err := io.ReadAll(conn)
	require.NoError(t, err, "the client gets %q and no end %s", got, strings.Join(of, ", "))
	assert.Equal(t, line, string(got))
}

// ping checks that the daemon echoes on conn, and leaves conn open.
func ping(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err := conn.Write([]byte("ping"))
	require.NoError(t, err)
	back := make([]byte, 4)
	_, err = io.ReadFull(conn, back)
	require.NoError(t, err)
	require.Equal(t, "ping", string(back))
}

func TestBinaryIsStatic(t *testing.T) {
	file, err := elf.Open(binary)
	require.NoError(t, err)
	defer file.Close()
	for _, prog := range file.Progs {
		assert.NotEqual(t, elf.PT_INTERP, prog.Type, "program header of a dynamic loader")
	}
}
