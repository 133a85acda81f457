package echo

import (
	"io"
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
}

// start serves conn in a new goroutine, which closes it.
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

// serve sends back what it receives until the client half-closes.
func serve(conn Conn, log *slog.Logger) {
	log = log.With("peer", peerName(conn.Conn), "listener", conn.Name)
	log.Info("connection accepted", "event", "accept")
	// The wrappers hide ReadFrom and WriteTo, because splice(2) would hold a pipe
	// (two descriptors, up to 1 MiB) for every connection, even an idle one.
	n, err := io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
	log = log.With("event", "close", "bytes", n)
	// Log before closing: a client that reads the end can rely on the line.
	switch {
	case err == nil:
		log.Info("connection closed by client")
	case closedByUs(err):
		log.Warn("connection reset by server")
	default:
		log.Warn("connection broken", "error", err.Error())
	}
	if err != nil {
		return
	}
	// Close alone leaves the connection open while another process holds a
	// duplicate of the descriptor; a shutdown does not.
	if half, ok := conn.Conn.(interface{ CloseWrite() error }); ok {
		// This fails only if the client has closed the connection already.
		_ = half.CloseWrite()
	}
}
