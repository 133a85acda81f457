package scenarios

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A test is the backend of a daemon that is activated by a socket and connects to others. See
// systemd-socket-proxyd(8).
func TestListenForADaemon(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	copyUnits(t, g, "testdata/listen")
	backend := g.Listen(t, "tcp", "127.0.0.1:9191")
	g.EnableNow(t, "proxy.socket")
	for n := range 2 {
		c := connect(t, g, "tcp", "127.0.0.1:9091")
		c.send(t, fmt.Sprintf("request %d", n))
		conn, err := backend.Accept()
		require.NoError(t, err)
		assert.True(t, conn.RemoteAddr().(*net.TCPAddr).IP.IsLoopback(), "%v", conn.RemoteAddr())
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("request %d\n", n), line)
		_, err = io.WriteString(conn, "answer\n")
		require.NoError(t, err)
		c.expect(t, "answer")
		require.NoError(t, conn.Close())
		_, err = c.in.ReadByte()
		assert.Equal(t, io.EOF, err, "the backend has closed")
	}
	assert.Equal(t, "active", g.Unit("proxy.service").State(t).ActiveState)

	// Without its backend the proxy says why it serves nobody.
	require.NoError(t, backend.Close())
	c := connect(t, g, "tcp", "127.0.0.1:9091")
	c.send(t, "request 3")
	_, err := c.in.ReadByte()
	assert.Error(t, err)
	g.AnnounceEntry(t, vmtest.JournalQuery{By: "proxy.service", Contains: "Connection refused"})
	g.WaitJournal(t, vmtest.JournalQuery{By: "proxy.service", Contains: "Connection refused"}, nil)
}

// A service connects to a path where a test listens, and one sends a datagram.
func TestListenAtAPath(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	copyUnits(t, g, "testdata/listen")
	collector := g.Listen(t, "unix", "/run/collector")
	notifications := g.ListenPacket(t, "unixgram", "/run/notifications")
	g.Unit("report.service").Start(t)
	conn, err := collector.Accept()
	require.NoError(t, err)
	text, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Equal(t, "report\n", string(text))
	require.NoError(t, conn.Close())
	g.Unit("report.service").Wait(t, "inactive")

	g.Unit("notify.service").Start(t)
	b := make([]byte, 1000)
	n, _, err := notifications.ReadFrom(b)
	require.NoError(t, err)
	assert.Equal(t, "STATUS=counted", string(b[:n]))

	_, err = g.Machine.Listen(t.Context(), "unix", "/run/collector")
	assert.ErrorIs(t, err, syscall.EADDRINUSE)
	assert.ErrorContains(t, err, "listen unix /run/collector (guest): bind: address already in use")
	require.NoError(t, collector.Close())
	require.NoError(t, notifications.Close())
	for _, path := range []string{"/run/collector", "/run/notifications"} {
		_, err := g.Machine.ReadFile(t.Context(), path)
		assert.ErrorIs(t, err, fs.ErrNotExist)
	}
}

// A test waits for a daemon that does not connect no longer than OpTimeout.
func TestListenForNobody(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{OpTimeout: 3 * time.Second})
	_, err := g.Listen(t, "tcp", "127.0.0.1:9191").Accept()
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.ErrorContains(t, err, "accept tcp 127.0.0.1:9191 (guest): not done")
	assert.ErrorContains(t, err, "no program in the guest has connected")
	_, _, err = g.ListenPacket(t, "udp", "127.0.0.1:9191").ReadFrom(nil)
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = g.Machine.Listen(t.Context(), "unix", "/nowhere/socket")
	assert.ErrorIs(t, err, fs.ErrNotExist)

	// The machine's end ends a call of Accept on it.
	l, err := g.Machine.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	require.NoError(t, g.Machine.Close())
	assert.ErrorContains(t, <-ended, "accept tcp 127.0.0.1:")
}
