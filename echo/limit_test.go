package echo

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Clients above the bound wait in the queue, each listener's in its own.
func TestMaxConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, sockets := listenPipe()
		second, other := listenPipe()
		r := start(t, Server{MaxConnections: 2}, Sockets{Listeners: append(sockets.Listeners, other.Listeners...)})
		a, b := first.dial(), first.dial()
		ping(t, a)
		ping(t, b)
		waiting := make(chan struct{})
		go func() {
			defer close(waiting)
			c := first.dial()
			ping(t, c)
			assert.NoError(t, c.Close())
		}()
		synctest.Wait()
		select {
		case <-waiting:
			assert.Fail(t, "a third connection was served", "two are open and MaxConnections is 2")
		default:
		}
		d := second.dial()
		ping(t, d)
		require.NoError(t, a.Close())
		<-waiting
		require.NoError(t, b.Close())
		require.NoError(t, d.Close())
		r.stop()
		require.NoError(t, r.wait(t))
		assert.Contains(t, r.log.String(), `msg="connection limit reached, further clients wait" event=full listener=pipe connections=2`)
	})
}

// A server at its bound ends when it is stopped, and leaves those who wait in the queue.
func TestStopAtTheBound(t *testing.T) {
	passed := listenerFile(t, "unix", filepath.Join(t.TempDir(), "s"), "kept")
	fd, err := syscall.Dup(int(passed.Fd()))
	require.NoError(t, err)
	next, err := Sort([]*os.File{os.NewFile(uintptr(fd), "kept")})
	require.NoError(t, err)
	sockets, err := Sort([]*os.File{passed})
	require.NoError(t, err)
	address := next.Listeners[0].Addr().String()
	r := start(t, Server{MaxConnections: 1}, sockets)
	served := dial(t, "unix", address)
	ping(t, served)
	waiting := dial(t, "unix", address)
	send(t, waiting, "ping")
	r.stop()
	_, err = exchange(served, nil)
	require.NoError(t, err)
	require.NoError(t, r.wait(t))
	assert.Equal(t, 1, strings.Count(r.log.String(), "event=accept"), r.log)

	r = start(t, Server{MaxConnections: 1}, next)
	got, err := exchange(waiting, nil)
	require.NoError(t, err)
	assert.Equal(t, "ping", string(got), "answer of the next process")
	r.stop()
	require.NoError(t, r.wait(t))
}
