package link

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// lingerTimeout bounds how long data that was written before a Close is still
// delivered.
const lingerTimeout = 5 * time.Second

// Dial connects to a socket inside the guest: "tcp", "tcp4" or "tcp6" and
// host:port, or "unix" and a path (@name for an abstract one). With tcp4 and
// tcp6 the host must be an address or localhost, for names are resolved in the
// guest, which is not told a family; an empty host is localhost. A connect that
// fails is a *net.OpError with the guest's text and number, so errors.Is finds
// syscall.ECONNREFUSED and fs.ErrNotExist.
//
// ctx bounds the connect alone. The connection has working deadlines and a
// CloseWrite() error method; the caller closes it. It can be read to its end
// after the guest closed; when the link is lost, Read says so with ErrLost.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	t, err := newTarget(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	ch, requests, err := c.open(ctx, t.kind, t.payload)
	if err != nil {
		if refusal := (*ssh.OpenChannelError)(nil); errors.As(err, &refusal) {
			err = &guestError{refusal.Message, wire.Errno(refusal.Reason)}
		}
		return nil, &net.OpError{Op: "dial", Net: network, Addr: t.remote, Err: err}
	}
	conn, err := bridge(c, ch, requests, t)
	if err != nil {
		go ssh.DiscardRequests(requests)
		ch.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Addr: t.remote, Err: err}
	}
	return conn, nil
}

// target is an address in the guest and the channel that leads to it.
type target struct {
	kind          string
	payload       []byte
	local, remote net.Addr
}

func newTarget(ctx context.Context, network, address string) (*target, error) {
	switch network {
	case "unix":
		return &target{
			kind:    "direct-streamlocal@openssh.com",
			payload: ssh.Marshal(wire.DirectStreamlocal{Path: address}),
			local:   &net.UnixAddr{Net: network},
			remote:  &net.UnixAddr{Net: network, Name: address},
		}, nil
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	if host, err = hostOf(network, host); err != nil {
		return nil, err
	}
	t := &target{
		kind:    "direct-tcpip",
		payload: ssh.Marshal(wire.DirectTCPIP{Host: host, Port: uint32(port), OriginHost: "127.0.0.1"}),
		local:   &net.TCPAddr{},
		remote:  nameAddr{network, net.JoinHostPort(host, strconv.Itoa(port))},
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		t.remote = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port)))
	}
	return t, nil
}

// hostOf enforces the family of tcp4 and tcp6.
func hostOf(network, host string) (string, error) {
	if host == "" {
		host = "localhost"
	}
	if network == "tcp" {
		return host, nil
	}
	if host == "localhost" {
		if network == "tcp4" {
			return "127.0.0.1", nil
		}
		return "::1", nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Unmap().Is4() != (network == "tcp4") {
		return "", &net.AddrError{Err: "no " + network + " address", Addr: host}
	}
	return host, nil
}

// nameAddr is a TCP address whose host only the guest can resolve.
type nameAddr struct{ network, address string }

func (a nameAddr) Network() string { return a.network }
func (a nameAddr) String() string  { return a.address }

// conn is the caller's end of a socket pair; the other end is copied from and to
// an SSH channel. The kernel so provides what channels lack: deadlines, bounded
// buffers, reads and writes that can be interrupted.
type conn struct {
	near   *net.UnixConn // the caller's end
	target *target
	closed atomic.Bool           // by Close, not by CloseWrite
	lost   atomic.Pointer[error] // why the data ended, if not by the guest's will
	linger func()
	once   sync.Once
}

// bridge starts the copies. They end when the guest closes, when the caller
// does, or with the link.
func bridge(c *Client, ch ssh.Channel, requests <-chan *ssh.Request, t *target) (net.Conn, error) {
	near, far, err := host.ConnPair("tunnel")
	if err != nil {
		return nil, err
	}
	finished := make(chan struct{})
	n := &conn{near: near, target: t}
	n.linger = func() {
		timer := time.NewTimer(lingerTimeout)
		defer timer.Stop()
		select {
		case <-finished:
		case <-timer.C:
			ch.Close()
		}
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { n.send(ch, far) })
	tasks.Go(func() {
		if _, err := io.CopyBuffer(struct{ io.Writer }{far}, ch, make([]byte, copyBuffer)); err != nil {
			// The caller has closed; the guest may still send.
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

// send copies what the caller writes and passes on its CloseWrite or Close.
func (n *conn) send(ch ssh.Channel, far *net.UnixConn) {
	_, err := io.CopyBuffer(ch, struct{ io.Reader }{far}, make([]byte, copyBuffer))
	if err != nil {
		// The guest has closed. Unread data at the final close would turn the
		// end of the caller's own reads into a reset.
		_ = far.CloseRead()
		_, _ = io.Copy(io.Discard, far)
	}
	if n.closed.Load() {
		_ = ch.Close()
	} else {
		_ = ch.CloseWrite()
	}
}

// Read reads what the guest sent; io.EOF is the guest's end of data.
func (n *conn) Read(p []byte) (int, error) {
	read, err := n.near.Read(p)
	if err == io.EOF {
		if lost := n.lost.Load(); lost != nil {
			err = &net.OpError{Op: "read", Net: n.target.remote.Network(), Addr: n.target.remote, Err: *lost}
		}
	}
	return read, err
}

// Write returns once the kernel has taken the data, before the guest has.
func (n *conn) Write(p []byte) (int, error) { return n.near.Write(p) }

// CloseWrite passes an end of data on to the guest.
func (n *conn) CloseWrite() error { return n.near.CloseWrite() }

// Close closes both directions. Data already written is still delivered.
func (n *conn) Close() error {
	n.closed.Store(true)
	err := n.near.Close()
	n.once.Do(func() { go n.linger() })
	return err
}

func (n *conn) LocalAddr() net.Addr  { return n.target.local }
func (n *conn) RemoteAddr() net.Addr { return n.target.remote }

func (n *conn) SetDeadline(t time.Time) error      { return n.near.SetDeadline(t) }
func (n *conn) SetReadDeadline(t time.Time) error  { return n.near.SetReadDeadline(t) }
func (n *conn) SetWriteDeadline(t time.Time) error { return n.near.SetWriteDeadline(t) }
