package guest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// newTestPort returns a port with the host's end, and how it came to be. A socket
// pair behaves as a port whose host is connected.
func newTestPort(t *testing.T, ctx context.Context) (*Port, int, error) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	p, err := newPort(ctx, fds[0], "port")
	t.Cleanup(func() {
		if p != nil {
			p.Close()
		}
	})
	return p, fds[1], err
}

func TestPort(t *testing.T) {
	p, fd, err := newTestPort(t, t.Context())
	require.NoError(t, err)
	host := hostEnd(t, fd)
	// More than the driver, or a socket, takes at once.
	data := make([]byte, 4<<20)
	for i := range data {
		data[i] = byte(i * 7)
	}
	written := make(chan error, 1)
	go func() {
		n, err := p.Write(data)
		if err == nil && n != len(data) {
			err = io.ErrShortWrite
		}
		written <- err
	}()
	got := make([]byte, len(data))
	_, err = io.ReadFull(host, got)
	require.NoError(t, err)
	require.NoError(t, <-written)
	assert.Equal(t, data, got)

	_, err = host.Write([]byte("x"))
	require.NoError(t, err)
	n, err := p.Read(got)
	require.NoError(t, err)
	assert.Equal(t, "x", string(got[:n]))

	host.Close()
	_, err = p.Read(got)
	assert.Equal(t, io.EOF, err)
	_, err = p.Write([]byte("x"))
	assert.ErrorIs(t, err, unix.EPIPE)
}

// hostEnd returns the host's end, which the test closes.
func hostEnd(t *testing.T, fd int) net.Conn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "host")
	defer f.Close()
	conn, err := net.FileConn(f)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestPortCloseEndsAWrite blocks a write by a host that does not read.
func TestPortCloseEndsAWrite(t *testing.T) {
	p, fd, err := newTestPort(t, t.Context())
	require.NoError(t, err)
	defer unix.Close(fd)
	written := make(chan error, 1)
	go func() {
		_, err := p.Write(make([]byte, 64<<20))
		written <- err
	}()
	_, err = unix.Read(fd, make([]byte, 1)) // it has begun
	for errors.Is(err, unix.EAGAIN) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		_, err = unix.Poll(fds, -1)
		if err == nil {
			_, err = unix.Read(fd, make([]byte, 1))
		}
	}
	require.NoError(t, err)
	require.NoError(t, p.Close())
	assert.Error(t, <-written)
}

// TestPortWithoutAHost waits on a port that is hung up, until its context ends.
func TestPortWithoutAHost(t *testing.T) {
	stop := errors.New("the agent is stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	unix.Close(fds[1])
	here, err := hostHere(uintptr(fds[0]))
	require.NoError(t, err)
	require.False(t, here)
	opened := make(chan error, 1)
	go func() {
		_, err := newPort(ctx, fds[0], "port")
		opened <- err
	}()
	cancel(stop)
	assert.ErrorIs(t, <-opened, stop)
}
