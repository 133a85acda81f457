package echo

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDrainBeforeTimeout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer manager.Close()
	require.NoError(t, manager.SetDeadline(time.Now().Add(patience)))
	t.Setenv("NOTIFY_SOCKET", path)
	sockets, address := listen(t, "tcp")
	r := start(t, Server{DrainTimeout: patience}, sockets)
	conn := dial(t, "tcp", address)
	ping(t, conn)
	r.stop()
	buf := make([]byte, 64)
	for _, state := range []string{"READY=1", "STOPPING=1"} {
		n, err := manager.Read(buf)
		require.NoError(t, err, "systemd does not get %s", state)
		require.Equal(t, state, string(buf[:n]))
	}
	// The server accepts no connection, but still serves the open one.
	_, err = sockets.Listeners[0].Accept()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	got, err := exchange(conn, []byte("last words"))
	require.NoError(t, err)
	assert.Equal(t, "last words", string(got))
	require.NoError(t, r.wait(t))
	assert.Regexp(t, `event=drain.* connections=1`, r.log.String())
	assert.Contains(t, r.log.String(), "closed_hard=0")
	_, err = net.Dial("tcp", address)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestResetAfterDrainTimeout(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			sockets, address := listen(t, network)
			r := start(t, Server{DrainTimeout: time.Millisecond}, sockets)
			first, second := dial(t, network, address), dial(t, network, address)
			ping(t, first)
			ping(t, second)
			r.stop()
			require.NoError(t, r.wait(t))
			assert.Regexp(t, `level=WARN.*event=drain.*closed_hard=2`, r.log.String())
			for _, conn := range []net.Conn{first, second} {
				_, err := conn.Read(make([]byte, 1))
				if network == "tcp" {
					assert.ErrorIs(t, err, syscall.ECONNRESET, "read of an incomplete echo")
				} else {
					assert.ErrorIs(t, err, io.EOF)
				}
			}
		})
	}
}
