package echo

import (
	"context"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTemporary(t *testing.T) {
	accept := func(errno syscall.Errno) error {
		return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
	}
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ECONNABORTED} {
		assert.True(t, temporary(accept(errno)), "%v ends the server", errno)
	}
	for _, errno := range []syscall.Errno{syscall.EINVAL, syscall.EBADF, syscall.ENOTSOCK} {
		assert.False(t, temporary(accept(errno)), errno)
	}
	assert.False(t, temporary(net.ErrClosed))
}

// A listener cannot accept any more after shutdown(2).
func TestServeReturnsPermanentAcceptErrors(t *testing.T) {
	sockets, _ := listen(t, "tcp")
	other, otherAddress := listen(t, "tcp")
	r := start(t, Server{}, Sockets{Listeners: append(other.Listeners, sockets.Listeners...)})
	conn := dial(t, "tcp", otherAddress)
	ping(t, conn)
	raw, err := sockets.Listeners[0].StreamListener.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = syscall.Shutdown(int(fd), syscall.SHUT_RD) }))
	require.NoError(t, err)
	// The open connection is drained before Serve returns.
	got, err := exchange(conn, []byte("bye"))
	require.NoError(t, err)
	assert.Equal(t, "bye", string(got))
	err = r.wait(t)
	require.ErrorIs(t, err, syscall.EINVAL)
	assert.ErrorContains(t, err, "accept on test-tcp: ")
	assert.Contains(t, r.log.String(), "event=drain")
}

// starved is a listener of a process that is out of descriptors.
type starved struct{ StreamListener }

func (starved) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}

func TestBackoffEndsWithTheContext(t *testing.T) {
	sockets, _ := listen(t, "tcp")
	defer sockets.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		var conns openConns
		done <- acceptLoop(ctx, &conns, Listener{StreamListener: starved{sockets.Listeners[0]}, Name: "starved"}, new(limit), slog.New(slog.DiscardHandler))
	}()
	cancel()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(patience):
		require.FailNow(t, "acceptLoop goes on after its context is done")
	}
}
