package echo

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWatchdog(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "10000000")
	synctest.Test(t, func(t *testing.T) {
		l, sockets := listenPipe()
		r := start(t, Server{DrainTimeout: time.Minute}, sockets)
		time.Sleep(4 * time.Second)
		assert.Equal(t, []string{"READY=1"}, m.queued(t), "after 4 s of 10 s")
		time.Sleep(7 * time.Second)
		assert.Equal(t, []string{"WATCHDOG=1", "WATCHDOG=1"}, m.queued(t), "in the next 7 s")
		conn := l.dial()
		ping(t, conn)
		r.stop()
		time.Sleep(5 * time.Second)
		assert.Equal(t, []string{"STOPPING=1", "WATCHDOG=1"}, m.queued(t), "in 5 s of draining")
		require.NoError(t, conn.Close())
		require.NoError(t, r.wait(t))
	})
}

// A server whose lock is held for good does not say that it is alive.
func TestWatchdogOfServerThatIsStuck(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "10000000")
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		stop := watchdog(nil, func() { <-stuck })
		time.Sleep(30 * time.Second)
		assert.Empty(t, m.queued(t))
		close(stuck)
		stop()
	})
}
