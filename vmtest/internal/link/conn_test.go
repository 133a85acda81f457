package link_test

import (
	"context"
	"io"
	"io/fs"
	"net"
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

// listen serves each connection in the guest with handle.
func listen(t *testing.T, network, address string, handle func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); handle(conn) }()
		}
	}()
	return listener.Addr().String()
}

func TestDialHalfClose(t *testing.T) {
	g := start(t, &agent.Server{})
	// It answers after the end of the client's data, which nc -N sends.
	answer := func(conn net.Conn) {
		all, _ := io.ReadAll(conn)
		io.WriteString(conn, strings.ToUpper(string(all)))
	}
	path := filepath.Join(t.TempDir(), "socket")
	listen(t, "unix", path, answer)
	_, port, err := net.SplitHostPort(listen(t, "tcp", "127.0.0.1:0", answer))
	require.NoError(t, err)
	for _, dial := range [][2]string{
		{"unix", path}, {"tcp", "127.0.0.1:" + port}, {"tcp4", "localhost:" + port}, {"tcp", ":" + port},
	} {
		conn, err := g.Dial(testContext(t), dial[0], dial[1])
		require.NoError(t, err, dial)
		_, err = io.WriteString(conn, "hello")
		require.NoError(t, err)
		require.NoError(t, conn.CloseWrite())
		reply, err := io.ReadAll(conn)
		require.NoError(t, err)
		assert.Equal(t, "HELLO", string(reply))
		require.NoError(t, conn.Close())
		assert.ErrorIs(t, conn.Close(), net.ErrClosed)
	}
	conn, err := g.Dial(testContext(t), "tcp", "127.0.0.1:"+port)
	require.NoError(t, err)
	defer conn.Close()
	assert.Equal(t, "127.0.0.1:"+port, conn.RemoteAddr().(*net.TCPAddr).String())
	assert.NotNil(t, conn.LocalAddr())
}

func TestDialGuestClosesFirst(t *testing.T) {
	g := start(t, &agent.Server{})
	address := listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { io.WriteString(conn, "bye") })
	conn, err := g.Dial(testContext(t), "tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Equal(t, "bye", string(all))
	// The guest's socket is closed, so a write fails when the guest has told.
	require.NoError(t, conn.SetWriteDeadline(deadline(t)))
	for err == nil {
		_, err = conn.Write(make([]byte, 4096))
	}
	assert.ErrorIs(t, err, syscall.EPIPE)
	assert.EqualError(t, err, "write tcp "+address+" (guest): write: broken pipe")
}

func TestDialDeadlines(t *testing.T) {
	g := start(t, &agent.Server{})
	release := make(chan struct{})
	address := listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		<-release
		io.Copy(conn, conn)
	})
	conn, err := g.Dial(testContext(t), "tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	// The other side does not read, so the write blocks at some point and must end.
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(500*time.Millisecond)))
	sent, err := conn.Write(make([]byte, 64<<20))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	// A deadline passed is not the end of the connection.
	close(release)
	require.NoError(t, conn.SetDeadline(deadline(t)))
	_, err = io.ReadFull(conn, make([]byte, sent))
	require.NoError(t, err)
}

// TestDialCloseDeliversAndEnds closes a connection right after a write. The guest
// gets all of it, and then the end of the connection, without a timeout of the host.
func TestDialCloseDeliversAndEnds(t *testing.T) {
	link.SetLingerTimeout(t, time.Hour)
	g := start(t, &agent.Server{})
	got := make(chan int64, 1)
	address := listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		n, _ := io.Copy(io.Discard, conn)
		for err := error(nil); err == nil; { // an end of data alone would let this go on
			_, err = conn.Write(make([]byte, 4096))
		}
		got <- n
	})
	conn, err := g.Dial(testContext(t), "tcp", address)
	require.NoError(t, err)
	_, err = conn.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	assert.EqualValues(t, 1<<20, receive(t, "end of data", got))
}

func TestDialRefused(t *testing.T) {
	g := start(t, &agent.Server{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	free := listener.Addr().String()
	listener.Close()

	_, err = g.Dial(testContext(t), "tcp", free)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.EqualError(t, err, "dial tcp "+free+" (guest): connect: connection refused")
	_, err = g.Dial(testContext(t), "unix", "/no/such/socket")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.EqualError(t, err, "dial unix /no/such/socket (guest): connect: no such file or directory")

	for _, bad := range [][2]string{
		{"ip", "127.0.0.1:1"}, {"tcp", "127.0.0.1"}, {"tcp", "127.0.0.1:no-such-service"},
		{"tcp6", "127.0.0.1:1"}, {"tcp4", "[::1]:1"}, {"tcp4", "some.name:1"}, {"tcp", "127.0.0.1:70000"},
	} {
		_, err := g.Dial(testContext(t), bad[0], bad[1])
		assert.ErrorAs(t, err, new(*net.OpError), bad)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = g.Dial(ctx, "tcp", free)
	assert.ErrorIs(t, err, context.Canceled)
}

// TestConnErrorsNameTheGuest looks for the address in the guest in each error, in
// place of that of the socket pair.
func TestConnErrorsNameTheGuest(t *testing.T) {
	g := start(t, &agent.Server{})
	path := filepath.Join(t.TempDir(), "socket")
	wait := func(conn net.Conn) { io.Copy(io.Discard, conn) }
	listen(t, "unix", path, wait)
	_, port, err := net.SplitHostPort(listen(t, "tcp", "127.0.0.1:0", wait))
	require.NoError(t, err)
	passed := time.Unix(1, 0)
	for _, test := range []struct{ network, address, remote string }{
		{"unix", path, path},
		{"tcp", "127.0.0.1:" + port, "127.0.0.1:" + port},
		{"tcp4", "localhost:" + port, "127.0.0.1:" + port},
		{"tcp", "localhost:" + port, "localhost:" + port},
	} {
		conn, err := g.Dial(testContext(t), test.network, test.address)
		require.NoError(t, err)
		assert.Equal(t, test.remote, conn.RemoteAddr().String())
		check := func(op string, err, want error) {
			t.Helper()
			where := test.network + " " + test.remote + " (guest): "
			assert.ErrorIs(t, err, want)
			assert.EqualError(t, err, op+" "+where+want.Error())
			var opErr *net.OpError
			require.ErrorAs(t, err, &opErr)
			assert.Equal(t, want == os.ErrDeadlineExceeded, opErr.Timeout(), op)
		}
		require.NoError(t, conn.SetDeadline(passed))
		_, err = conn.Read(make([]byte, 1))
		check("read", err, os.ErrDeadlineExceeded)
		_, err = conn.Write(make([]byte, 1))
		check("write", err, os.ErrDeadlineExceeded)
		require.NoError(t, conn.Close())
		_, err = conn.Read(make([]byte, 1))
		check("read", err, net.ErrClosed)
		_, err = conn.Write(make([]byte, 1))
		check("write", err, net.ErrClosed)
		check("close", conn.CloseWrite(), net.ErrClosed)
		check("close", conn.Close(), net.ErrClosed)
		check("set", conn.SetDeadline(passed), net.ErrClosed)
		check("set", conn.SetReadDeadline(passed), net.ErrClosed)
		check("set", conn.SetWriteDeadline(passed), net.ErrClosed)
	}
}

func TestConnOfALostLink(t *testing.T) {
	g := start(t, &agent.Server{})
	address := listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { io.Copy(io.Discard, conn) })
	conn, err := g.Dial(testContext(t), "tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	g.port.Close() // the machine dies
	_, err = conn.Read(make([]byte, 1))
	assert.ErrorIs(t, err, link.ErrLost)
	assert.ErrorContains(t, err, "read tcp "+address+" (guest): guest link lost: ")
	for err = nil; err == nil; {
		_, err = conn.Write(make([]byte, 4096))
	}
	assert.ErrorIs(t, err, link.ErrLost)
	assert.ErrorContains(t, err, "write tcp "+address+" (guest): guest link lost: ")
}
