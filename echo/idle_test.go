package echo

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIdleTimeout(t *testing.T) {
	t.Run("ends without a client", func(t *testing.T) {
		sockets, _ := listen(t, "tcp")
		r := start(t, Server{IdleTimeout: time.Millisecond}, sockets)
		require.NoError(t, r.wait(t))
		assert.Contains(t, r.log.String(), "event=idle")
	})
	t.Run("counts from the end of the last connection", func(t *testing.T) {
		sockets, address := listen(t, "tcp")
		const idle = 300 * time.Millisecond
		r := start(t, Server{IdleTimeout: idle}, sockets)
		conn := dial(t, "tcp", address)
		ping(t, conn)
		select {
		case err := <-r.done:
			require.FailNow(t, "ended with a connection open", "%v\n%s", err, r.log)
		case <-time.After(2 * idle):
		}
		ended := time.Now()
		_, err := exchange(conn, nil)
		require.NoError(t, err)
		require.NoError(t, r.wait(t))
		assert.GreaterOrEqual(t, time.Since(ended), idle)
	})
	t.Run("loses no client that comes in meanwhile", func(t *testing.T) {
		passed := listenerFile(t, "tcp", "127.0.0.1:0", "kept")
		defer passed.Close()
		l, err := net.FileListener(passed)
		require.NoError(t, err)
		address := l.Addr().String()
		require.NoError(t, l.Close())
		clients := make(chan error, 1)
		go func() {
			for i := range 50 {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					clients <- err
					return
				}
				got, err := exchange(conn, []byte(itoa(i)))
				if err != nil || string(got) != itoa(i) {
					clients <- fmt.Errorf("client %d got %q: %w", i, got, err)
					return
				}
				conn.Close()
			}
			clients <- nil
		}()
		// As systemd does: the socket stays, its queue too, and the server that
		// was idle is started again.
		for {
			select {
			case err := <-clients:
				require.NoError(t, err)
				return
			default:
			}
			fd, err := syscall.Dup(int(passed.Fd()))
			require.NoError(t, err)
			sockets, err := Sort([]*os.File{os.NewFile(uintptr(fd), "kept")})
			require.NoError(t, err)
			require.NoError(t, start(t, Server{IdleTimeout: time.Millisecond}, sockets).wait(t))
		}
	})
}

// sneaking lets a client in when the idle timer has fired and the accept loop
// has not ended yet.
type sneaking struct {
	StreamListener
	once   sync.Once
	client func()
}

func (s *sneaking) SetDeadline(deadline time.Time) error {
	if !deadline.IsZero() {
		s.once.Do(s.client)
	}
	return s.StreamListener.SetDeadline(deadline)
}

func TestClientAtTheMomentOfIdleness(t *testing.T) {
	sockets, address := listen(t, "tcp")
	// The echo proves that the loop took the client.
	sneaked := make(chan net.Conn, 1)
	sockets.Listeners[0].StreamListener = &sneaking{StreamListener: sockets.Listeners[0].StreamListener, client: func() {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_, err = conn.Write([]byte("x"))
		}
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		assert.NoError(t, err)
		sneaked <- conn
	}}
	r := start(t, Server{IdleTimeout: 50 * time.Millisecond}, sockets)
	first := <-sneaked
	// The server goes on with the first and takes a second.
	second := dial(t, "tcp", address)
	ping(t, second)
	for _, conn := range []net.Conn{second, first} {
		_, err := exchange(conn, nil)
		require.NoError(t, err)
	}
	require.NoError(t, r.wait(t))
	assert.Contains(t, r.log.String(), "event=idle")
}
