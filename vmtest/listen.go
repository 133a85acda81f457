package vmtest

import (
	"context"
	"net"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// Listen listens on an address inside the guest, for daemons that connect to others: network
// "tcp" with host:port, or "unix" or "unixpacket" with a path or an @abstract name. With port 0
// the guest's kernel chooses one, which Addr has. Accept returns a *Conn, whose RemoteAddr is
// the daemon's end in the guest. The guest needs no network for it. An address in use is a
// syscall.EADDRINUSE to errors.Is, and a directory that is not there an fs.ErrNotExist. All users
// of the guest may connect to a path. The caller closes the listener, which removes its path.
// Accept fails when the machine ends.
func (m *Machine) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := m.listen(ctx, network, address)
	if err != nil {
		return nil, err // and not a nil *listener
	}
	return l, nil
}

func (m *Machine) listen(ctx context.Context, network, address string) (*listener, error) {
	l, err := m.vm.Listen(ctx, network, address)
	if err != nil {
		return nil, public(err)
	}
	return &listener{Listener: l, machine: m, network: network}, nil
}

// ListenPacket opens a socket for datagrams inside the guest, for daemons that send some, as to
// NOTIFY_SOCKET= or a syslog: network "udp" with host:port, or "unixgram" with a path or an
// @abstract name. WriteTo may send to any address, so a test that only sends listens at port 0.
// It returns before the guest sends: if that fails, the next ReadFrom returns the error, once. A
// sender without a name cannot be answered (syscall.EDESTADDRREQ). A datagram has up to 64 KiB.
// All users of the guest may send to a path. The caller closes the socket, which sends what was
// written and removes the path.
func (m *Machine) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	p, err := m.listenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (m *Machine) listenPacket(ctx context.Context, network, address string) (*packetConn, error) {
	p, err := m.vm.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, public(err)
	}
	return &packetConn{PacketConn: p, limits: &Conn{network: network, address: p.LocalAddr().String()}}, nil
}

// listener is a net.Listener inside the guest.
type listener struct {
	*link.Listener
	machine *Machine
	network string

	// Of Guest.Listen: what bounds Accept and the connections, and the test that closes them.
	guest *Guest
	t     testing.TB
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	ctx := context.Background()
	if l.guest != nil {
		bounded, cancel := deadline.Within(ctx, l.guest.opLimit())
		defer cancel()
		ctx = bounded
	}
	accepted, err := l.Listener.Accept(ctx)
	if err != nil && deadline.Struck(ctx) {
		return nil, &ConnError{"accept", l.network, l.Addr().String(), context.Cause(ctx).Error() + "; no program in the guest has connected"}
	}
	if err != nil {
		return nil, public(l.machine.vm.Explain(ctx, "lost", err))
	}
	conn := &Conn{Conn: accepted, network: l.network, address: accepted.RemoteAddr().String()}
	if l.guest != nil {
		l.guest.own(l.t, conn)
	}
	return conn, nil
}

// packetConn is a net.PacketConn inside the guest.
type packetConn struct {
	*link.PacketConn
	limits *Conn // bounds ReadFrom and WriteTo as reads and writes of a Conn
}

// ReadFrom reads a datagram.
func (p *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	done := p.limits.bound(&p.limits.ownRead, p.PacketConn.SetReadDeadline)
	p.limits.answered.Store(true) // there is no answer that a daemon owes
	n, from, err := p.PacketConn.ReadFrom(b)
	return n, from, done("read", err)
}

// WriteTo sends a datagram.
func (p *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	done := p.limits.bound(&p.limits.ownWrite, p.PacketConn.SetWriteDeadline)
	n, err := p.PacketConn.WriteTo(b, to)
	return n, done("write", err)
}

// SetDeadline sets the deadlines of ReadFrom and WriteTo in place of OpTimeout.
func (p *packetConn) SetDeadline(t time.Time) error {
	p.limits.ownRead.Store(true)
	p.limits.ownWrite.Store(true)
	return p.PacketConn.SetDeadline(t)
}

// SetReadDeadline sets the deadline of ReadFrom, as SetDeadline.
func (p *packetConn) SetReadDeadline(t time.Time) error {
	p.limits.ownRead.Store(true)
	return p.PacketConn.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline of WriteTo, as SetDeadline.
func (p *packetConn) SetWriteDeadline(t time.Time) error {
	p.limits.ownWrite.Store(true)
	return p.PacketConn.SetWriteDeadline(t)
}

// closedSocket is what Guest.Listen and Guest.ListenPacket return if their failure does not end
// the caller's goroutine, which is not the test's.
type closedSocket struct{ net.Conn }

func (closedSocket) Accept() (net.Conn, error)              { return nil, net.ErrClosed }
func (c closedSocket) Addr() net.Addr                       { return c.LocalAddr() }
func (closedSocket) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, net.ErrClosed }
func (closedSocket) WriteTo([]byte, net.Addr) (int, error)  { return 0, net.ErrClosed }

// Listen listens on an address inside the guest, as Machine.Listen. The listener and its
// connections are closed when the test ends. OpTimeout bounds each Accept, and the reads and
// writes of the connections as those of Dial.
func (g *Guest) Listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l := get(t, g, func(ctx context.Context) (*listener, error) { return g.Machine.listen(ctx, network, address) })
	if l == nil {
		return closedSocket{closedConn()}
	}
	l.guest, l.t = g, t
	t.Cleanup(func() { l.Close() })
	return l
}

// ListenPacket opens a socket for datagrams inside the guest, as Machine.ListenPacket. It is
// closed when the test ends. OpTimeout bounds each ReadFrom and WriteTo.
func (g *Guest) ListenPacket(t testing.TB, network, address string) net.PacketConn {
	t.Helper()
	p := get(t, g, func(ctx context.Context) (*packetConn, error) { return g.Machine.listenPacket(ctx, network, address) })
	if p == nil {
		return closedSocket{closedConn()}
	}
	p.limits.guest = g
	t.Cleanup(func() { p.Close() })
	return p
}
