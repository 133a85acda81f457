package link_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/proc"
	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

func TestExecContextKillsGroup(t *testing.T) {
	g := start(t, &agent.Server{})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	// The grandchildren hold the FIFO, so its reader sees the end when all of them
	// have ended. One is in a group of its own.
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	lines, w := io.Pipe()
	cmd := link.Command{
		Args:   []string{"bash", "-c", "exec 3>" + fifo + "; sleep 1000 & set -m; sleep 1000 & echo ready; wait"},
		Stdout: w,
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Exec(ctx, cmd) }()
	held, err := os.Open(fifo)
	require.NoError(t, err)
	defer held.Close()
	_, err = bufio.NewReader(lines).ReadString('\n')
	require.NoError(t, err)

	cancel()
	err = receive(t, "end of Exec", ended)
	assert.ErrorIs(t, err, context.Canceled)
	// Exec waits for the guest's answer, so the processes have ended already.
	conn, err := held.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, conn.Read(func(fd uintptr) bool {
		var n int
		n, err = syscall.Read(int(fd), make([]byte, 1))
		return n <= 0 // at once, without a wait for the end
	}))
	assert.NoError(t, err, "a grandchild still holds the FIFO")
	require.NoError(t, g.Exec(testContext(t), sh("true")), "the link must survive")
}

// TestExecContextEndsWithTheCommand ends the context when the command has ended but
// the client has not heard of it. That is no error, and the elapsed time is set.
func TestExecContextEndsWithTheCommand(t *testing.T) {
	checkLeaks(t)
	host, port := socketPair(t)
	sender := &announcer{Conn: host, sent: make(chan struct{})}
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	// The agent logs a command's end before it sends it. The next data of the client
	// is then the signal, because the context has ended.
	log := writerFunc(func(record []byte) {
		if bytes.Contains(record, []byte("command ended")) {
			sender.armed.Store(true)
			cancel()
			<-sender.sent
		}
	})
	server := &agent.Server{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), port) }()
	client, err := link.Dial(testContext(t), sender)
	require.NoError(t, err)

	var elapsed time.Duration
	cmd := sh("exit 0")
	cmd.Elapsed = &elapsed
	require.NoError(t, client.Exec(ctx, cmd))
	require.Error(t, ctx.Err())
	assert.Positive(t, elapsed)
	client.Close()
	receive(t, "end of Serve", served)
}

// announcer closes sent at the first Write after it was armed.
type announcer struct {
	net.Conn
	armed atomic.Bool
	sent  chan struct{}
}

func (a *announcer) Write(p []byte) (int, error) {
	if a.armed.Swap(false) {
		defer close(a.sent)
	}
	return a.Conn.Write(p)
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestExecContextWithStuckGuest(t *testing.T) {
	checkLeaks(t)
	// An agent that shook hands and then stopped reading.
	host, port := socketPair(t)
	stopped := &stoppable{ReadWriteCloser: port, gate: make(chan struct{})}
	sender := &announcer{Conn: host, sent: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(context.Background())
	served := make(chan error, 1)
	server := &agent.Server{}
	go func() { served <- server.Serve(context.Background(), stopped) }()
	client, err := link.Dial(testContext(t), sender)
	require.NoError(t, err)
	stopped.on.Store(true)
	sender.armed.Store(true)

	cause := errors.New("the test is over")
	cmd := sh("cat")
	cmd.Stdin = zeros{}
	pending := make(chan error, 1)
	go func() { pending <- client.Exec(ctx, cmd) }()
	receive(t, "request to the agent", sender.sent)
	cancel(cause)
	err = receive(t, "end of Exec", pending)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, err, cause)

	_, err = client.Dial(ctx, "unix", "/x")
	assert.ErrorIs(t, err, context.Canceled)
	_, err = client.Control(ctx, "x", nil)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, client.WriteFile(ctx, "/x", nil, 0), context.Canceled)
	client.Close()
	close(stopped.gate)
	receive(t, "end of Serve", served)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestExecDaemonDoesNotHold(t *testing.T) {
	g := start(t, &agent.Server{})
	var stdout bytes.Buffer
	cmd := sh("sleep 1000 & echo $!; exit 4")
	cmd.Stdout = &stdout
	var exit *link.ExitError
	require.ErrorAs(t, g.Exec(testContext(t), cmd), &exit)
	assert.Equal(t, 4, exit.ExitCode)
	pid := strings.TrimSpace(stdout.String())
	require.DirExists(t, "/proc/"+pid, "what a command leaves behind lives on")

	require.NoError(t, g.Close())
	require.NoError(t, receive(t, "end of Serve", g.served))
	assert.True(t, gone(pid), "nothing of the session may outlive Serve")
}

// gone reports whether the process has ended. It need not be reaped yet.
func gone(pid string) bool {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true
	}
	stat, err := proc.ParseStat(text)
	return err == nil && stat.State == 'Z'
}
