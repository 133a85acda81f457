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
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// Conn is a connection from the host to a socket inside the guest. The errors of its
// reads and writes name the address there.
type Conn struct {
	net.Conn

	network, address string
	guest            *Guest // bounds reads and writes by its OpTimeout; nil for none

	ownRead, ownWrite atomic.Bool // the caller has set a deadline
	answered          atomic.Bool // the daemon has answered all that was written
}

// Dial connects from the host to an address inside the guest, through the guest link. The guest
// needs no network for it. The network is one of
//
//	tcp, tcp4, tcp6          host:port
//	udp, udp4, udp6          host:port
//	unix, unixgram           a path or an @abstract name
//	unixpacket               the same, SOCK_SEQPACKET in unix(7)
//	vsock                    CID:PORT, or PORT of the guest itself, which is CID 1 (vsock(7))
//	fifo                     the path of a FIFO
//	mqueue                   the /name of a POSIX message queue
//
// Each read and write of "udp", "unixgram" and "unixpacket" is a packet of up to 64 KiB, and each
// of "mqueue" a message. A FIFO or a queue is opened for reading by the first Read, which waits
// for a writer, and for writing by Write, which is a syscall.ENXIO if nobody reads the FIFO.
//
// A refused connection is a syscall.ECONNREFUSED to errors.Is, as is the answer to a datagram for
// which nobody listens; one of "vsock" is a syscall.ECONNRESET. A path or a queue that is not there
// is an fs.ErrNotExist. The first socket of "vsock" has the guest's kernel load vsock_loopback,
// which Debian's images have. Where it cannot, the error says so. The caller closes the connection.
func (m *Machine) Dial(ctx context.Context, network, address string) (*Conn, error) {
	return m.DialFrom(ctx, Source{}, network, address)
}

// Source is the end of a connection that a daemon sees as its client. The zero value is root at
// any address.
type Source struct {
	// Address is an IP address of the guest, with a port or without, such as 127.0.0.2, or
	// a path or an @abstract name, or CID:PORT of vsock. It is what REMOTE_ADDR has
	// (systemd.exec(5)). "" is the kernel's choice.
	Address string

	// User is the name or the UID of a user in the guest's /etc/passwd, for SO_PEERCRED
	// (socket(7)). The process is that of the agent.
	User string
}

// DialFrom is Dial from a source of the caller's choice.
func (m *Machine) DialFrom(ctx context.Context, from Source, network, address string) (*Conn, error) {
	conn, err := m.vm.DialFrom(ctx, link.Source(from), network, address)
	if err != nil {
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
	done := c.bound(&c.ownRead, c.Conn.SetReadDeadline)
	n, err := c.Conn.Read(b)
	err = done("read", err)
	if n > 0 {
		c.answered.Store(true)
	}
	return n, err
}

// Write writes to the connection, as net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	c.answered.Store(false)
	done := c.bound(&c.ownWrite, c.Conn.SetWriteDeadline)
	n, err := c.Conn.Write(b)
	return n, done("write", err)
}

// CloseWrite closes the side on which the host writes, so that the daemon reads to the
// end of the stream.
func (c *Conn) CloseWrite() error {
	w, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return net.ErrClosed
	}
	return w.CloseWrite()
}

// SetDeadline sets the deadline of reads and writes, as net.Conn, in place of the limit
// that Guest.Dial gives them. The zero time is no deadline.
func (c *Conn) SetDeadline(t time.Time) error {
	c.ownRead.Store(true)
	c.ownWrite.Store(true)
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline sets the deadline of reads, as SetDeadline.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.ownRead.Store(true)
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline of writes, as SetDeadline.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.ownWrite.Store(true)
	return c.Conn.SetWriteDeadline(t)
}

// bound lets a read or a write fail when the guest's OpTimeout is over, unless the caller
// has set a deadline. set sets the deadline of the connection for it. The function that
// bound returns ends that, and explains the error of the read or write.
func (c *Conn) bound(own *atomic.Bool, set func(time.Time) error) func(op string, err error) error {
	if c.guest == nil || own.Load() {
		return func(op string, err error) error {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = &ConnError{op, c.network, c.address, "the deadline that the caller set is over"}
			}
			return err
		}
	}
	ctx, cancel := deadline.Within(context.Background(), c.guest.opLimit())
	stop := context.AfterFunc(ctx, func() { set(time.Unix(1, 0)) })
	return func(op string, err error) error {
		if !stop() && !own.Load() {
			set(time.Time{}) // for the next one
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && deadline.Struck(ctx) {
			err = &ConnError{op, c.network, c.address, c.overdue(op, context.Cause(ctx))}
		}
		cancel()
		return err
	}
}

// overdue returns which limit is over, and what listens in the guest if the daemon owes an
// answer. An idle connection, such as one that an http.Client keeps, is owed none.
func (c *Conn) overdue(op string, limit error) string {
	if c.network == "fifo" || c.network == "mqueue" {
		peer := map[string]string{"read": "writes", "write": "reads"}[op]
		return limit.Error() + "; no process in the guest " + peer + " there"
	}
	if c.answered.Load() {
		return limit.Error()
	}
	return fmt.Sprintf("%v; %s", limit, c.guest.Machine.listener(c.network, c.address))
}

// ConnError reports that a deadline ended a read or a write of a [Conn], or an Accept of
// [Guest.Listen]. It is a net.Error with Timeout, and an os.ErrDeadlineExceeded to errors.Is.
type ConnError struct {
	Op      string // "read", "write" or "accept"
	Network string
	Address string // inside the guest
	Cause   string // which deadline it was, and what listened on the address then
}

// Error returns what was done, the address in the guest, and Cause.
func (e *ConnError) Error() string {
	return fmt.Sprintf("%s %s %s (guest): %s", e.Op, e.Network, e.Address, e.Cause)
}

// Is reports whether target is os.ErrDeadlineExceeded.
func (e *ConnError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// Timeout returns true.
func (e *ConnError) Timeout() bool { return true }

// Temporary returns true, as for any deadline of package net.
func (e *ConnError) Temporary() bool { return true }

// Dial connects to an address inside the guest, as Machine.Dial. The connection is closed
// when the test ends. OpTimeout bounds each of its reads and writes, stretched on a slow
// host, so that a daemon that never answers fails its own test only. The error then says
// what listens on the address.
func (g *Guest) Dial(t testing.TB, network, address string) *Conn {
	t.Helper()
	return g.DialFrom(t, Source{}, network, address)
}

// own bounds the reads and writes of a connection, and closes it when the test ends.
func (g *Guest) own(t testing.TB, conn *Conn) {
	conn.guest = g
	t.Cleanup(func() { conn.Close() })
}

// closedConn returns a connection that is closed at both ends.
func closedConn() net.Conn {
	a, b := net.Pipe()
	a.Close()
	b.Close()
	return a
}

// DialFrom connects from a source of the test's choice, as Machine.DialFrom and Guest.Dial.
func (g *Guest) DialFrom(t testing.TB, from Source, network, address string) *Conn {
	t.Helper()
	conn := get(t, g, func(ctx context.Context) (*Conn, error) {
		return g.Machine.DialFrom(ctx, from, network, address)
	})
	if conn == nil { // on another goroutine than the test's
		return &Conn{Conn: closedConn(), network: network, address: address}
	}
	g.own(t, conn)
	return conn
}

// Dialer returns a function that connects to addresses inside the guest, for what dials
// by itself, such as http.Transport. Its connections are as those of Dial. The function
// may be called from any goroutine and returns its error.
func (g *Guest) Dialer(t testing.TB) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := deadline.Within(ctx, g.opLimit())
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
	transport := &http.Transport{DialContext: g.Dialer(t)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
