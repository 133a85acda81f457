package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lines is a log that closes seen when it contains wanted.
type lines struct {
	wanted string
	seen   chan struct{}
	buf    bytes.Buffer
	once   sync.Once
}

func (l *lines) Write(p []byte) (int, error) {
	n, err := l.buf.Write(p)
	if bytes.Contains(l.buf.Bytes(), []byte(l.wanted)) {
		l.once.Do(func() { close(l.seen) })
	}
	return n, err
}

// datagrams listens on a Unix datagram socket, as the service manager (NOTIFY_SOCKET)
// and journald do. It returns a function that reads the next datagram.
func datagrams(t *testing.T, path string) func() string {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() {
		conn.Close()
		_ = os.Remove(path)
	})
	return func() string {
		t.Helper()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		buf := make([]byte, 64<<10)
		n, err := conn.Read(buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
}

func TestNotifyAndSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "notify")
			next := datagrams(t, path)
			file, addr := listener(t, "tcp", "127.0.0.1:0")
			p := activated(t, "echo", []*os.File{file}, []string{"NOTIFY_SOCKET=" + path})
			require.Equal(t, "READY=1", next())
			conn := dial(t, "tcp", addr)
			ping(t, conn)
			p.signal(t, sig)
			require.Equal(t, "STOPPING=1", next(), "sent before the drain")
			roundTrip(t, conn, "finish")
			assert.Equal(t, 0, p.wait(t))
			assert.Contains(t, p.stderr.String(), "connections=1 bound=5s")
			assert.Contains(t, p.stderr.String(), "closed_hard=0")
			assert.Contains(t, p.stderr.String(), `cause="`+sig.String()+" signal received")
		})
	}
}

func TestResetAfterDrainTimeout(t *testing.T) {
	file, addr := listener(t, "tcp", "127.0.0.1:0")
	p := activated(t, "echo", []*os.File{file}, nil, "--drain-timeout=100ms")
	conn := dial(t, "tcp", addr)
	ping(t, conn)
	p.signal(t, syscall.SIGTERM)
	assert.Equal(t, 0, p.wait(t))
	assert.Contains(t, p.stderr.String(), "closed_hard=1")
	_, err := conn.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestConnectionIsDrainedToo(t *testing.T) {
	passed, client := pair(t)
	p := activated(t, "connection", []*os.File{passed}, nil)
	ping(t, client)
	p.signal(t, syscall.SIGTERM)
	ping(t, client)
	roundTrip(t, client, "finish")
	assert.Equal(t, 0, p.wait(t))
}

// When journald restarts, standard error has no reader.
func TestServeWithoutLogReader(t *testing.T) {
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	defer writer.Close()
	require.NoError(t, reader.Close())
	file, addr := listener(t, "tcp", "127.0.0.1:0")
	p := activatedLogging(t, writer, file)
	roundTrip(t, dial(t, "tcp", addr), "served\n", "of a daemon whose log has no reader")
	p.signal(t, syscall.SIGTERM)
	assert.Equal(t, 0, p.wait(t))
}

// journalStream returns a file for standard error, and the variable that declares
// it to be connected to the journal.
func journalStream(t *testing.T) (stderr *os.File, env string) {
	t.Helper()
	stderr, err := os.CreateTemp(t.TempDir(), "stderr")
	require.NoError(t, err)
	t.Cleanup(func() { stderr.Close() })
	info, err := stderr.Stat()
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	return stderr, fmt.Sprintf("JOURNAL_STREAM=%d:%d", stat.Dev, stat.Ino)
}

// journald's socket is missing in a service with RootDirectory=.
func TestJournalSocketMissing(t *testing.T) {
	stderr, stream := journalStream(t)
	file, addr := listener(t, "tcp", "127.0.0.1:0")
	p := activatedLogging(t, stderr, file, stream)
	roundTrip(t, dial(t, "tcp", addr), "12345")
	p.signal(t, syscall.SIGTERM)
	assert.Equal(t, 0, p.wait(t))
	text, err := os.ReadFile(stderr.Name())
	require.NoError(t, err)
	assert.Contains(t, string(text), "listener=echo event=accept")
	assert.Contains(t, string(text), "event=close bytes=5")
}

func TestJournalFields(t *testing.T) {
	next := datagrams(t, journalSocket)
	stderr, stream := journalStream(t)
	file, addr := listener(t, "tcp", "127.0.0.1:0")
	p := activatedLogging(t, stderr, file, stream, "INVOCATION_ID=0123456789abcdef0123456789abcdef")

	listening := next()
	assert.Contains(t, listening, "ECHO_EVENT=listen\n")
	conn := dial(t, "tcp", addr)
	roundTrip(t, conn, "12345")
	peer := conn.LocalAddr().String()
	accepted, closed := next(), next()
	for _, want := range []string{
		"PRIORITY=6\n", "SYSLOG_IDENTIFIER=demo-echo\n", "INVOCATION_ID=0123456789abcdef0123456789abcdef\n",
		"ECHO_PEER=" + peer + "\n", "ECHO_LISTENER=echo\n",
	} {
		assert.Contains(t, accepted, want)
		assert.Contains(t, closed, want)
	}
	assert.Contains(t, accepted, "MESSAGE=connection accepted peer="+peer+" listener=echo\n")
	assert.Contains(t, accepted, "ECHO_EVENT=accept\n")
	assert.Contains(t, closed, "ECHO_EVENT=close\n")
	assert.Contains(t, closed, "ECHO_BYTES=5\n")

	open := dial(t, "tcp", addr)
	ping(t, open)
	assert.Contains(t, next(), "ECHO_EVENT=accept\n")
	p.signal(t, syscall.SIGTERM)
	assert.Contains(t, next(), "ECHO_EVENT=drain\n")
	roundTrip(t, open, "")
	assert.Contains(t, next(), "ECHO_EVENT=close\n")
	assert.Contains(t, next(), "ECHO_CLOSED_HARD=0\n")
	assert.Equal(t, 0, p.wait(t))
	text, err := os.ReadFile(stderr.Name())
	require.NoError(t, err)
	assert.Empty(t, string(text), "standard error")
}

// What goes wrong has a priority by which the journal tells it from the rest.
func TestJournalPriorities(t *testing.T) {
	next := datagrams(t, journalSocket)
	stderr, stream := journalStream(t)
	config := filepath.Join(t.TempDir(), "conf")
	require.NoError(t, os.WriteFile(config, nil, 0o600))
	file, addr := listener(t, "tcp", "127.0.0.1:0")
	cmd := daemon(t, "echo", []*os.File{file}, []string{stream})
	cmd.Args = append(cmd.Args, "--config="+config)
	cmd.Stderr = stderr
	p := launch(t, cmd)
	require.NoError(t, file.Close())
	expect := func(event, priority string) {
		t.Helper()
		for {
			entry := next()
			if strings.Contains(entry, "ECHO_EVENT="+event+"\n") {
				assert.Contains(t, entry, "PRIORITY="+priority+"\n", "entry of the event %s", event)
				return
			}
		}
	}
	expect("listen", "6")
	require.NoError(t, os.WriteFile(config, []byte("rubbish"), 0o600))
	p.signal(t, syscall.SIGHUP)
	expect("reload", "3")
	conn := dial(t, "tcp", addr)
	ping(t, conn)
	require.NoError(t, conn.(*net.TCPConn).SetLinger(0))
	require.NoError(t, conn.Close())
	expect("close", "4")
	p.signal(t, syscall.SIGTERM)
	assert.Equal(t, 0, p.wait(t))
}
