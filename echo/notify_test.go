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

// watched is a log that looks at each record, with its message alone.
type watched func(slog.Record)

func (watched) Enabled(context.Context, slog.Level) bool { return true }
func (w watched) WithAttrs([]slog.Attr) slog.Handler     { return w }
func (w watched) WithGroup(string) slog.Handler          { return w }

func (w watched) Handle(_ context.Context, r slog.Record) error {
	w(r)
	return nil
}

// When systemd gets READY=1, every socket has been checked and announced.
func TestReadyComesAfterTheSockets(t *testing.T) {
	m := newManager(t)
	tcp, _ := listen(t, "tcp")
	udp, _ := bind(t, "udp")
	ctx, cancel := context.WithCancel(t.Context())
	announced := 0
	log := slog.New(watched(func(r slog.Record) {
		if r.Message == "listening" {
			announced++
			assert.Empty(t, m.queued(t), "messages to systemd before socket %d is announced", announced)
		}
	}))
	cancel() // Serve ends at once
	require.NoError(t, (&Server{Log: log}).Serve(ctx, Sockets{Listeners: tcp.Listeners, Datagrams: udp.Datagrams}))
	assert.Equal(t, []string{"READY=1", "STOPPING=1"}, m.queued(t))
	assert.Equal(t, 2, announced, "sockets that were announced")
}
