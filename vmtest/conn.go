package vmtest

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"
)

// Conn is a connection from the host to a socket inside the guest.
type Conn struct {
	net.Conn
}

// CloseWrite closes the side on which the host writes, so that the daemon reads to the
// end of the stream.
func (c *Conn) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// Dial connects from the host to an address inside the guest, through the guest link:
// network "tcp" with host:port, or "unix" with a path or an @abstract name. The guest
// needs no network for it. The caller closes the connection.
func (m *Machine) Dial(ctx context.Context, network, address string) (*Conn, error) {
	conn, err := m.vm.Dial(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("dial %s %s in the guest: %w", network, address, public(err))
	}
	return &Conn{conn}, nil
}

// Dial connects to an address inside the guest, as Machine.Dial. The connection is closed
// when the test ends. It has a deadline from the start, OpTimeout after the call or
// earlier if the test's own time ends earlier, so that a daemon that never answers fails
// its own test only. SetDeadline sets another one or, with the zero time, none.
func (g *Guest) Dial(t testing.TB, network, address string) *Conn {
	t.Helper()
	conn := get(t, g, func(ctx context.Context) (*Conn, error) { return g.Machine.Dial(ctx, network, address) })
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(g.deadline(t)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// deadline is when an operation that begins now must be over, on a host that is not slow.
func (g *Guest) deadline(t testing.TB) time.Time {
	at := time.Now().Add(g.opLimit().Used())
	if end, ok := testEnd(t); ok && end.Add(-evidenceTime).Before(at) {
		at = end.Add(-evidenceTime)
	}
	return at
}
