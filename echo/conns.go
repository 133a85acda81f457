package echo

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// openConns are the connections being served, each by a goroutine of its own.
// The zero value is empty.
type openConns struct {
	mu    sync.Mutex
	set   map[net.Conn]struct{}
	empty chan struct{} // closed when the last connection ends; nil before the first
	idle  time.Duration
	timer *time.Timer // runs while none is open; nil without idle watch
}

// start serves conn in a goroutine, which closes it.
func (c *openConns) start(conn Conn, log *slog.Logger) {
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
		defer c.end(conn.Conn)
		serve(conn, log)
	}()
}

func (c *openConns) end(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Closed already after a reset.
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

// none is closed when no connection is open.
func (c *openConns) none() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.empty == nil {
		c.empty = make(chan struct{})
		close(c.empty)
	}
	return c.empty
}

// reset closes every open connection and returns how many there were.
func (c *openConns) reset() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.set {
		if tcp, ok := conn.(*net.TCPConn); ok {
			// RST instead of FIN: the client must not take a cut echo for a whole one.
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	return len(c.set)
}

// whenIdle calls f, possibly more than once, when no connection was open for the
// time after; it replaces an earlier watch. The returned function ends the watch.
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

// serve sends back what it receives until the client half-closes.
func serve(conn Conn, log *slog.Logger) {
	log = log.With("peer", peerName(conn.Conn), "listener", conn.Name)
	log.Info("connection accepted", "event", "accept")
	// The wrappers hide ReadFrom and WriteTo: splice(2) would keep a pipe, that
	// is two descriptors and up to 1 MiB, for every connection however idle.
	n, err := io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
	log = log.With("event", "close", "bytes", n)
	// Before the close, so that a client that sees the end finds the line.
	switch {
	case err == nil:
		log.Info("connection closed by client")
	case closedByUs(err):
		log.Warn("connection closed hard")
	default:
		log.Warn("connection broken", "error", err.Error())
	}
	if err != nil {
		return
	}
	// Shuts down the connection itself: a duplicate that someone else holds
	// would keep it open over a mere close.
	if half, ok := conn.Conn.(interface{ CloseWrite() error }); ok {
		// A client that is gone by now has got everything, or wants no more.
		_ = half.CloseWrite()
	}
}
