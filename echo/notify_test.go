package echo

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// manager is a service manager's end of NOTIFY_SOCKET.
type manager struct{ *net.UnixConn }

// newManager sets NOTIFY_SOCKET for the test.
func newManager(t *testing.T) manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return manager{conn}
}

// next returns the next message and the file that came with it, or nil.
func (m manager) next(t *testing.T) (string, *os.File) {
	t.Helper()
	require.NoError(t, m.SetReadDeadline(time.Now().Add(patience)))
	buf, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, size, _, _, err := m.ReadMsgUnix(buf, rights)
	require.NoError(t, err, "wait for a message to systemd")
	messages, err := unix.ParseSocketControlMessage(rights[:size])
	require.NoError(t, err)
	if len(messages) == 0 {
		return string(buf[:n]), nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	require.NoError(t, err)
	require.Len(t, fds, 1)
	unix.CloseOnExec(fds[0])
	return string(buf[:n]), os.NewFile(uintptr(fds[0]), "received")
}

// queued returns the messages that have come by now.
func (m manager) queued(t testing.TB) (messages []string) {
	t.Helper()
	raw, err := m.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		buf := make([]byte, 4096)
		for {
			n, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			if err != nil {
				assert.ErrorIs(t, err, unix.EAGAIN)
				return
			}
			messages = append(messages, string(buf[:n]))
		}
	}))
	return messages
}

// watched is a log that looks at each record.
type watched struct {
	slog.Handler
	look func(slog.Record)
}

func (w watched) Handle(_ context.Context, r slog.Record) error {
	w.look(r)
	return nil
}

// When systemd gets READY=1, every socket has been checked and announced.
func TestReadyComesAfterTheSockets(t *testing.T) {
	m := newManager(t)
	tcp, _ := listen(t, "tcp")
	udp, _ := bind(t, "udp")
	ctx, cancel := context.WithCancel(t.Context())
	announced := 0
	log := slog.New(watched{slog.DiscardHandler, func(r slog.Record) {
		if r.Message == "listening" {
			announced++
			assert.Empty(t, m.queued(t), "messages to systemd before socket %d is announced", announced)
		}
	}})
	log = slog.New(enabled{log.Handler()})
	done := make(chan error, 1)
	go func() {
		done <- (&Server{Log: log}).Serve(ctx, Sockets{Listeners: tcp.Listeners, Datagrams: udp.Datagrams})
	}()
	state, _ := m.next(t)
	assert.Equal(t, "READY=1", state)
	cancel()
	require.NoError(t, <-done)
	assert.Equal(t, 2, announced, "sockets that were announced")
}

// enabled is a log that takes all records.
type enabled struct{ slog.Handler }

func (enabled) Enabled(context.Context, slog.Level) bool { return true }
