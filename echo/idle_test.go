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
	t.Run("loses no client that connects meanwhile", func(t *testing.T) {
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
		// Like systemd, keep the socket with its queue and start the server again
		// when it was idle.
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

// lateClient is a listener that runs client when the idle timer has fired and the
// accept loop has not ended yet.
type lateClient struct {
	StreamListener
	once   sync.Once
	client func()
}

func (l *lateClient) SetDeadline(deadline time.Time) error {
	if !deadline.IsZero() {
		l.once.Do(l.client)
	}
	return l.StreamListener.SetDeadline(deadline)
}

func TestClientAsIdleTimerFires(t *testing.T) {
	sockets, address := listen(t, "tcp")
	// The echo shows that the loop accepted the client.
	accepted := make(chan net.Conn, 1)
	sockets.Listeners[0].StreamListener = &lateClient{StreamListener: sockets.Listeners[0].StreamListener, client: func() {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_, err = conn.Write([]byte("x"))
		}
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		assert.NoError(t, err)
		accepted <- conn
	}}
	// With a bound of 2, the accept that the timer has ended must not count.
	r := start(t, Server{IdleTimeout: 50 * time.Millisecond, MaxConnections: 2}, sockets)
	first := <-accepted
	second, err := net.Dial("tcp", address)
	const ended = "the server ended as idle, although a client had just connected"
	require.NoError(t, err, ended)
	defer second.Close()
	require.NoError(t, second.SetDeadline(time.Now().Add(patience)))
	ping(t, second, "the second; "+ended)
	for _, conn := range []net.Conn{second, first} {
		_, err := exchange(conn, nil)
		require.NoError(t, err)
	}
	require.NoError(t, r.wait(t))
	assert.Contains(t, r.log.String(), "event=idle")
}
