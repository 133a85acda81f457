package link_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

func TestExecContextKillsGroup(t *testing.T) {
	g := start(t, &agent.Server{})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	// The grandchildren hold the FIFO: its reader sees the end when all of
	// them are gone. One is in a group of its own.
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
	// Exec waits for the guest's word, so the processes are gone already.
	require.NoError(t, held.SetReadDeadline(time.Now().Add(time.Second)))
	_, err = held.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err, "a grandchild still holds the FIFO")
	require.NoError(t, g.Exec(testContext(t), sh("true")), "the link must survive")
}

func TestExecContextWithWedgedGuest(t *testing.T) {
	checkLeaks(t)
	// An agent that shook hands and then stopped reading.
	host, port := socketPair(t)
	stopped := &stoppable{ReadWriteCloser: port, gate: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(context.Background())
	served := make(chan error, 1)
	server := &agent.Server{}
	go func() { served <- server.Serve(context.Background(), stopped) }()
	client, err := link.Dial(testContext(t), host)
	require.NoError(t, err)
	stopped.on.Store(true)

	cause := errors.New("the test is over")
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	begin := time.Now()
	cmd := sh("cat")
	cmd.Stdin = zeros{}
	err = client.Exec(ctx, cmd)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, err, cause)
	assert.Less(t, time.Since(begin), 10*time.Second)

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
	begin := time.Now()
	var exit *link.ExitError
	require.ErrorAs(t, g.Exec(testContext(t), cmd), &exit)
	assert.Equal(t, 4, exit.Code)
	assert.Less(t, time.Since(begin), 5*time.Second)
	pid := strings.TrimSpace(stdout.String())
	require.DirExists(t, "/proc/"+pid, "what a command leaves behind lives on")

	require.NoError(t, g.Close())
	require.NoError(t, receive(t, "end of Serve", g.served))
	assert.True(t, gone(pid), "nothing of the session may outlive Serve")
}

// gone reports whether the process has ended; it may not be reaped yet.
func gone(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}
