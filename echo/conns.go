package echo

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// openConns is the set of connections being served, each by its own goroutine.
// The zero value is an empty set.
type openConns struct {
	mu    sync.Mutex
	set   map[net.Conn]struct{}
	empty chan struct{} // closed when the last connection ends; nil before the first
	idle  time.Duration
	timer *time.Timer // runs while no connection is open; nil without an idle watch
	store bool        // keep each connection in the file-descriptor store while it is open
}

// start serves conn in a new goroutine, which closes it and then calls done.
func (c *openConns) start(conn Conn, done func(), log *slog.Logger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.set) == 0 {
		c.set = map[net.Conn]struct{}{}
		c.empty = make(chan struct{})
		if c.timer != nil {
			c.timer.Stop()
		}
	}
	c.set[conn.Conn] = struct{}{}
	go func() {
		defer done()
		defer c.end(conn.Conn)
		if !c.store {
			serve(conn, log)
			return
		}
		remove := store(conn, log)
		if !serve(conn, log) {
			remove()
		}
	}()
}

func (c *openConns) end(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// After a reset conn is closed already.
	_ = conn.Close()
	delete(c.set, conn)
	if len(c.set) == 0 {
		close(c.empty)
		if c.timer != nil {
			c.timer.Reset(c.idle)
		}
	}
}

func (c *openConns) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.set)
}

// none returns a channel that is closed when no connection is open.
func (c *openConns) none() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.empty == nil {
		c.empty = make(chan struct{})
		close(c.empty)
	}
	return c.empty
}

// touch restarts the idle time, as a connection does when it ends.
func (c *openConns) touch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil && len(c.set) == 0 {
		c.timer.Reset(c.idle)
	}
}

// handOver makes every connection end as soon as what was read is sent back, and
// leaves it open in the file-descriptor store.
func (c *openConns) handOver() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for conn := range c.set {
		errs = append(errs, conn.SetReadDeadline(past))
	}
	return errors.Join(errs...)
}

// reset closes every open connection and returns how many there were.
func (c *openConns) reset() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.set {
		if tcp, ok := conn.(*net.TCPConn); ok {
			// RST instead of FIN, so that the client notices that its echo is incomplete.
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	return len(c.set)
}

// whenIdle calls f when no connection has been open for the duration after. It
// may call f more than once. It replaces an earlier watch; stop ends this one.
func (c *openConns) whenIdle(after time.Duration, f func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	timer := time.AfterFunc(after, f)
	if len(c.set) > 0 {
		timer.Stop()
	}
	c.idle, c.timer = after, timer
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		timer.Stop()
		c.timer = nil
	}
}
