package guest

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
)

// portPair returns a descriptor for newPort, and the host's end, which the test closes. A
// socket pair behaves as a port whose host is connected.
func portPair(t *testing.T) (fd int, hostEnd *net.UnixConn) {
	t.Helper()
	port, other, err := host.SocketPair("port")
	require.NoError(t, err)
	defer port.Close()
	hostEnd, err = host.UnixConn(other)
	require.NoError(t, err)
	t.Cleanup(func() { hostEnd.Close() })
	fd, err = unix.FcntlInt(port.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(fd, true))
	return fd, hostEnd
}

// newTestPort returns a port and the host's end.
func newTestPort(t *testing.T) (*Port, *net.UnixConn) {
	t.Helper()
	fd, hostEnd := portPair(t)
	p, err := newPort(t.Context(), fd, "port")
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	return p, hostEnd
}

func TestPort(t *testing.T) {
	p, hostEnd := newTestPort(t)
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
		if err != nil {
			p.Close() // which ends the read
		}
		written <- err
	}()
	got := make([]byte, len(data))
	_, err := io.ReadFull(hostEnd, got)
	require.NoError(t, <-written, "write of %d bytes", len(data))
	require.NoError(t, err)
	assert.Equal(t, data, got)

	_, err = hostEnd.Write([]byte("x"))
	require.NoError(t, err)
	n, err := p.Read(got)
	require.NoError(t, err)
	assert.Equal(t, "x", string(got[:n]))

	hostEnd.Close()
	_, err = p.Read(got)
	assert.Equal(t, io.EOF, err)
	_, err = p.Write([]byte("x"))
	assert.ErrorIs(t, err, unix.EPIPE)
}

// TestPortCloseEndsAWrite blocks a write by a host that does not read.
func TestPortCloseEndsAWrite(t *testing.T) {
	p, hostEnd := newTestPort(t)
	written := make(chan error, 1)
	go func() {
		_, err := p.Write(make([]byte, 64<<20))
		written <- err
	}()
	_, err := hostEnd.Read(make([]byte, 1)) // it has begun
	require.NoError(t, err)
	require.NoError(t, p.Close())
	assert.Error(t, <-written)
}

// TestPortWithoutAHost waits on a port that is hung up, until its context ends.
func TestPortWithoutAHost(t *testing.T) {
	stop := errors.New("the agent is stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	fd, hostEnd := portPair(t)
	require.NoError(t, hostEnd.Close())
	here, err := hostHere(uintptr(fd))
	require.NoError(t, err)
	require.False(t, here)
	opened := make(chan error, 1)
	go func() {
		_, err := newPort(ctx, fd, "port")
		opened <- err
	}()
	cancel(stop)
	assert.ErrorIs(t, <-opened, stop)
}
