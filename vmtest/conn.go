package vmtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// Conn is a connection from the host to a socket inside the guest. Its errors name the
// address there. A deadline that is over is also an os.ErrDeadlineExceeded.
type Conn struct {
	net.Conn

	network, address string
	timeout          atomic.Pointer[connTimeout] // nil once the caller sets a deadline
}

// connTimeout is the deadline that a connection has from the start.
type connTimeout struct {
	ctx    context.Context
	cancel context.CancelFunc
	listen func() string // describes what listens in the guest
}

// Dial connects from the host to an address inside the guest, through the guest link:
// network "tcp" with host:port, or "unix" with a path or an @abstract name. The guest
// needs no network for it. The caller closes the connection.
func (m *Machine) Dial(ctx context.Context, network, address string) (*Conn, error) {
	conn, err := m.vm.Dial(ctx, network, address)
	if err != nil {
		if !errors.As(err, new(*net.OpError)) { // which names the address
			err = fmt.Errorf("dial %s %s in the guest: %w", network, address, err)
		}
		return nil, public(err)
	}
	return &Conn{Conn: conn, network: network, address: address}, nil
}

// DialContext is Dial with the result of net.Dialer.DialContext, for http.Transport and
// the like.
func (m *Machine) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := m.Dial(ctx, network, address)
	if err != nil {
		return nil, err // and not a nil *Conn
	}
	return conn, nil
}

// Read reads from the connection, as net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.explain("read", err)
}

// Write writes to the connection, as net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain("write", err)
}

// CloseWrite closes the side on which the host writes, so that the daemon reads to the
// end of the stream.
func (c *Conn) CloseWrite() error {
	return c.explain("close", c.Conn.(interface{ CloseWrite() error }).CloseWrite())
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.dropTimeout()
	return c.Conn.Close()
}

// SetDeadline sets the deadline of reads and writes, as net.Conn. It replaces the one that
// Guest.Dial gives a connection.
func (c *Conn) SetDeadline(t time.Time) error {
	c.dropTimeout()
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline sets the deadline of reads, as net.Conn. It replaces the one that
// Guest.Dial gives a connection.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.dropTimeout()
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline of writes, as net.Conn. It replaces the one that
// Guest.Dial gives a connection.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.dropTimeout()
	return c.Conn.SetWriteDeadline(t)
}

func (c *Conn) dropTimeout() {
	if t := c.timeout.Swap(nil); t != nil {
		t.cancel()
	}
}

// setTimeout lets reads and writes fail when ctx ends. listen describes what listens in
// the guest at that time.
func (c *Conn) setTimeout(ctx context.Context, listen func() string) {
	ctx, cancel := context.WithCancel(ctx)
	t := &connTimeout{ctx: ctx, cancel: cancel, listen: listen}
	c.timeout.Store(t)
	context.AfterFunc(ctx, func() {
		if c.timeout.Load() == t {
			c.Conn.SetDeadline(time.Unix(1, 0))
		}
	})
}

// explain names the address in an error of the connection, and the deadline that ended
// the call.
func (c *Conn) explain(op string, err error) error {
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if t := c.timeout.Load(); t != nil && t.ctx.Err() != nil {
		return &ConnError{op, c.network, c.address, fmt.Sprintf("%v; %s", context.Cause(t.ctx), t.listen())}
	}
	return &ConnError{op, c.network, c.address, "the deadline that the caller set is over"}
}

// ConnError reports that a deadline ended a call of a [Conn]. It is a net.Error with
// Timeout, and an os.ErrDeadlineExceeded to errors.Is.
type ConnError struct {
	Op      string // "read", "write" or "close"
	Network string
	Address string // inside the guest
	Cause   string // which deadline it was, and what listened on the address then
}

func (e *ConnError) Error() string {
	return fmt.Sprintf("%s %s %s in the guest: %s", e.Op, e.Network, e.Address, e.Cause)
}

// Is reports whether target is os.ErrDeadlineExceeded.
func (e *ConnError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// Timeout returns true.
func (e *ConnError) Timeout() bool { return true }

// Temporary returns true, as for any deadline of package net.
func (e *ConnError) Temporary() bool { return true }

// Dial connects to an address inside the guest, as Machine.Dial. The connection is closed
// when the test ends. Its reads and writes have a deadline from the start: OpTimeout after
// the call, stretched on a slow host, or earlier if the test's own time ends earlier. So
// a daemon that never answers fails its own test only, with an error that says what
// listens on the address. SetDeadline sets another deadline or, with the zero time, none.
func (g *Guest) Dial(t testing.TB, network, address string) *Conn {
	t.Helper()
	conn := get(t, g, func(ctx context.Context) (*Conn, error) { return g.Machine.Dial(ctx, network, address) })
	if conn == nil { // on another goroutine than the test's
		return &Conn{Conn: closedConn(), network: network, address: address}
	}
	g.own(t, conn)
	return conn
}

// own gives a connection its deadline, and closes it when the test ends.
func (g *Guest) own(t testing.TB, conn *Conn) {
	test, cancelTest := g.context(t)
	ctx, cancel := deadline.Within(test, g.opLimit())
	conn.setTimeout(ctx, func() string { return g.Machine.listener(conn.network, conn.address) })
	t.Cleanup(func() {
		conn.Close()
		cancel()
		cancelTest()
	})
}

// closedConn returns a connection that is closed at both ends.
func closedConn() net.Conn {
	a, b := net.Pipe()
	a.Close()
	b.Close()
	return a
}

// DialContext returns a function that connects to addresses inside the guest, for what
// dials by itself, such as http.Transport. Its connections are closed when the test ends.
// The function may be called from any goroutine and returns its error.
func (g *Guest) DialContext(t testing.TB) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := deadline.BeforeEnd(ctx)
		defer cancel()
		ctx, cancel = deadline.Within(ctx, g.opLimit())
		defer cancel()
		conn, err := g.Machine.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		g.own(t, conn)
		return conn, nil
	}
}

// HTTPClient returns a client for HTTP servers inside the guest. Its idle connections are
// closed when the test ends. Hosts in URLs are looked up in the guest.
func (g *Guest) HTTPClient(t testing.TB) *http.Client {
	transport := &http.Transport{DialContext: g.DialContext(t)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
