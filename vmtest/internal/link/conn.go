package link

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// lingerTimeout bounds the delivery of data that was written before a Close. Tests
// change it.
var lingerTimeout = 5 * time.Second

// Dial connects to a socket inside the guest. network is "tcp", "tcp4" or "tcp6" and
// address host:port, or network is "unix" and address a path (@name for an abstract
// socket). The guest resolves names, in any family: with tcp4 and tcp6 the host must
// be an address or localhost. An empty host is localhost. On "udp" and its like, "unixgram" and
// "unixpacket" each Read and Write is a packet. Dial returns a *net.OpError
// that has the guest's own text and error number, so errors.Is finds
// syscall.ECONNREFUSED and fs.ErrNotExist.
//
// ctx bounds the connect alone. The caller closes the connection.
func (c *Client) Dial(ctx context.Context, network, address string) (*Conn, error) {
	if isFile(network) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	return c.dialSocket(ctx, Source{}, network, address)
}

// DialFrom is Dial from a source in the guest. It also has "fifo" with a path, and "mqueue" with
// the name of a POSIX message queue. These are opened for reading by Read and for writing by
// Write, and each Read and Write of a queue is a message.
func (c *Client) DialFrom(ctx context.Context, from Source, network, address string) (net.Conn, error) {
	if isFile(network) {
		return c.dialFile(ctx, from, network, address)
	}
	conn, err := c.dialSocket(ctx, from, network, address)
	if err != nil {
		return nil, err // and not a nil *Conn
	}
	return conn, nil
}

func (c *Client) dialSocket(ctx context.Context, from Source, network, address string) (*Conn, error) {
	t, err := newTargetFrom(ctx, from, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return c.connect(ctx, t)
}

// Conn is a connection to a socket inside the guest. It implements net.Conn. Its
// deadlines are the host's, and its errors are each a *net.OpError with the address in
// the guest. It can be read to its end after the guest has closed it. After the link
// has ended, Read and Write fail with an error that wraps that of Client.Err.
type Conn struct {
	// near is the caller's end of a socket pair. The data of the other end is copied
	// from and to an SSH channel. So the kernel provides what channels lack:
	// deadlines, bounded buffers, reads and writes that can be interrupted.
	near   *net.UnixConn
	client *Client
	target *target
	closed atomic.Bool           // by Close, not by CloseWrite
	lost   atomic.Pointer[error] // the link's error, if the data ended with the link
	linger func()
	once   sync.Once
	sent   chan struct{} // closed when nothing more is sent to the guest
}

// bridge starts the copies. They end when the guest or the caller closes the
// connection, or with the link.
func bridge(c *Client, ch ssh.Channel, requests <-chan *ssh.Request, t *target) (*Conn, error) {
	pair := host.ConnPair
	if t.packets {
		pair = host.PacketPair
	}
	near, far, err := pair("tunnel")
	if err != nil {
		return nil, err
	}
	finished := make(chan struct{})
	n := &Conn{near: near, client: c, target: t, sent: make(chan struct{})}
	timeout := lingerTimeout
	n.linger = func() {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		select {
		case <-finished:
		case <-timer.C:
			ch.Close()
		}
	}
	var tasks sync.WaitGroup
	send, receive := n.send, n.receive
	if t.packets {
		send, receive = n.sendPackets, n.receivePackets
	}
	tasks.Go(func() {
		defer close(n.sent)
		send(ch, far)
	})
	tasks.Go(func() {
		if err := receive(ch, far); err != nil {
			// The caller has closed, but the guest can still send.
			_, _ = io.Copy(io.Discard, ch)
		}
		if err := c.Err(); err != nil {
			n.lost.Store(&err)
		}
		_ = far.CloseWrite()
	})
	tasks.Go(func() {
		ssh.DiscardRequests(requests)
		_ = far.CloseRead() // the channel is closed: fail the caller's writes
	})
	go func() {
		tasks.Wait()
		far.Close()
		close(finished)
	}()
	return n, nil
}

// receive copies what the guest sends.
func (n *Conn) receive(ch ssh.Channel, far *net.UnixConn) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{far}, ch, make([]byte, wire.MaxData))
	return err
}

// send copies what the caller writes, and then its CloseWrite or Close.
func (n *Conn) send(ch ssh.Channel, far *net.UnixConn) {
	_, err := io.CopyBuffer(ch, struct{ io.Reader }{far}, make([]byte, wire.MaxData))
	if err != nil {
		// The guest has closed. If data were unread at the final close, the
		// caller's reads would end in a reset.
		_ = far.CloseRead()
		_, _ = io.Copy(io.Discard, far)
	}
	if n.closed.Load() {
		_ = ch.Close()
	} else {
		_ = ch.CloseWrite()
	}
}

// Read reads what the guest sent. It returns io.EOF at the end of the guest's data.
func (n *Conn) Read(p []byte) (int, error) {
	read, err := n.readNear(p)
	if err == io.EOF {
		if lost := n.lost.Load(); lost != nil {
			return read, n.target.opError("read", *lost)
		}
		return read, err
	}
	return read, n.error("read", err)
}

// Write returns when the host's kernel has taken the data, before the guest has it.
func (n *Conn) Write(p []byte) (int, error) {
	written, err := n.writeNear(p)
	if errors.Is(err, syscall.EPIPE) {
		if lost := n.client.Err(); lost != nil {
			err = lost
		}
	}
	return written, n.error("write", err)
}

// CloseWrite ends the data to the guest, which can still send.
func (n *Conn) CloseWrite() error { return n.error("close", n.near.CloseWrite()) }

// Close closes both directions. Data already written is still delivered.
func (n *Conn) Close() error {
	n.closed.Store(true)
	err := n.near.Close()
	n.once.Do(func() { go n.linger() })
	return n.error("close", err)
}

// LocalAddr returns an address without a name or number: the host has none in the
// guest.
func (n *Conn) LocalAddr() net.Addr { return n.target.local }

// RemoteAddr returns the address in the guest.
func (n *Conn) RemoteAddr() net.Addr { return n.target.remote }

// SetDeadline sets the deadlines of Read and Write.
func (n *Conn) SetDeadline(t time.Time) error { return n.error("set", n.near.SetDeadline(t)) }

// SetReadDeadline sets the deadline of Read.
func (n *Conn) SetReadDeadline(t time.Time) error { return n.error("set", n.near.SetReadDeadline(t)) }

// SetWriteDeadline sets the deadline of Write.
func (n *Conn) SetWriteDeadline(t time.Time) error { return n.error("set", n.near.SetWriteDeadline(t)) }

// error puts the address in the guest in place of the socket pair's.
func (n *Conn) error(op string, err error) error {
	if err == nil {
		return nil
	}
	if local := (*net.OpError)(nil); errors.As(err, &local) {
		err = local.Err
	}
	return n.target.opError(op, err)
}
