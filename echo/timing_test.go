package echo

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pipeListener is a listener on the fake clock of a synctest bubble. Its
// connections are unbuffered: a write returns when the other end has read.
type pipeListener struct {
	conns chan net.Conn

	mu      sync.Mutex
	expired chan struct{} // closed by a deadline; nil without one
}

func (l *pipeListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	expired := l.expired
	l.mu.Unlock()
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-expired:
		return nil, os.ErrDeadlineExceeded
	}
}

// SetDeadline takes every deadline but the zero time as past.
func (l *pipeListener) SetDeadline(deadline time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if deadline.IsZero() {
		l.expired = make(chan struct{})
	} else {
		close(l.expired)
	}
	return nil
}

func (l *pipeListener) Close() error   { return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

func listenPipe() (*pipeListener, Sockets) {
	l := &pipeListener{conns: make(chan net.Conn)}
	return l, Sockets{Listeners: []Listener{{StreamListener: l, Name: "pipe"}}}
}

func TestIdleTimeoutStartsAfterTheLastConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 5 * time.Second
		l, sockets := listenPipe()
		r := start(t, Server{IdleTimeout: idle}, sockets)
		conn := l.dial()
		time.Sleep(2 * idle)
		ping(t, conn)
		require.NoError(t, conn.Close())
		ended := time.Now()
		require.NoError(t, r.wait(t))
		assert.Equal(t, idle, time.Since(ended))
	})
}

func TestDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 5 * time.Second
		l, sockets := listenPipe()
		r := start(t, Server{DrainTimeout: timeout}, sockets)
		ping(t, l.dial())
		stopped := time.Now()
		r.stop()
		require.NoError(t, r.wait(t, "although DrainTimeout is over"))
		assert.Equal(t, timeout, time.Since(stopped))
		assert.Contains(t, r.log.String(), "closed_hard=1")
	})
}

func TestDrainOfClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sockets := listenPipe()
		r := start(t, Server{}, sockets)
		_, err := l.dial().Write([]byte("ping"))
		require.NoError(t, err)
		synctest.Wait() // the server is blocked in Write
		r.stop()
		require.NoError(t, r.wait(t))
		assert.Contains(t, r.log.String(), "closed_hard=1")
	})
}

// The server has read from two clients before either reads. Each gets its own.
func TestConnectionsShareNoBuffer(t *testing.T) {
	for name, serve := range map[string]func(net.Conn) (int64, error){"stream": sendBack, "packets": copyMessages} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := []string{"of the first client", "of the other client"}
				var clients []net.Conn
				for _, message := range sent {
					client, server := net.Pipe()
					defer server.Close()
					go serve(server)
					_, err := client.Write([]byte(message))
					require.NoError(t, err)
					synctest.Wait() // the server is blocked in Write
					clients = append(clients, client)
				}
				for i, client := range clients {
					got := make([]byte, len(sent[i]))
					_, err := io.ReadFull(client, got)
					require.NoError(t, err)
					assert.Equal(t, sent[i], string(got), "what a client gets back; connections share a buffer")
					require.NoError(t, client.Close())
				}
			})
		})
	}
}
