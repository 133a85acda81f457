package link

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// Listener accepts the connections of programs in the guest to a socket there.
type Listener struct {
	socket
	id     uint32
	ctx    context.Context // ends with the listener
	end    context.CancelFunc
	accept chan struct{} // held by a call of Accept
	next   chan accepted // the connection that is being accepted; nil if none is
}

type accepted struct {
	conn *Conn
	err  error
}

// socket is a socket in the guest on which the agent listens.
type socket struct {
	client  *Client
	channel ssh.Channel
	network string
	addr    net.Addr
	once    sync.Once // closes it
}

// lastListener is the number of the last listener.
var lastListener atomic.Uint32

// Listen listens on a socket in the guest: network and address are as for net.Listen there. The
// kernel keeps connections that nobody has accepted. ctx bounds the opening alone. The caller
// closes the listener.
func (c *Client) Listen(ctx context.Context, network, address string) (*Listener, error) {
	if of := []string{"tcp", "tcp4", "tcp6", "unix", "unixpacket"}; !slices.Contains(of, network) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: unknownNetwork(network, of)}
	}
	l := &Listener{id: lastListener.Add(1), accept: make(chan struct{}, 1)}
	l.client, l.network = c, network
	requests, err := l.open(ctx, wire.Listen{ID: l.id, Network: network, Address: address})
	if err != nil {
		return nil, err
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	go func() {
		ssh.DiscardRequests(requests)
		l.end()
	}()
	return l, nil
}

// open opens the socket's channel and reads its address.
func (s *socket) open(ctx context.Context, at wire.Listen) (<-chan *ssh.Request, error) {
	fail := func(err error) error {
		return &net.OpError{Op: "listen", Net: at.Network, Addr: inGuest{nameAddr{at.Network, at.Address}}, Err: refusal(err)}
	}
	ch, requests, err := s.client.open(ctx, wire.ListenChannel, ssh.Marshal(at))
	if err != nil {
		return nil, fail(err)
	}
	address, err := readAddress(ctx, ch)
	if err == nil {
		if s.addr = wire.Addr(at.Network, address); s.addr == nil {
			err = fmt.Errorf("the guest's address is %q", address)
		}
	}
	if err != nil {
		go ssh.DiscardRequests(requests)
		ch.Close()
		return nil, fail(s.client.lost(err))
	}
	s.channel = ch
	return requests, nil
}

// maxAddress bounds an address, in bytes.
const maxAddress = 1 << 10

// readAddress reads an address that the agent sends as soon as a channel is open.
func readAddress(ctx context.Context, ch ssh.Channel) (string, error) {
	stop := context.AfterFunc(ctx, func() { ch.Close() })
	p := make([]byte, maxAddress)
	n, err := wire.ReadPacket(ch, p)
	if !stop() {
		return "", ended(ctx)
	}
	return string(p[:n]), err
}

// Addr returns the address in the guest, with the port if that was 0.
func (s *socket) Addr() net.Addr { return s.addr }

// finish closes the socket in the guest and then the channel. It waits a short time for the guest.
func (s *socket) finish() {
	timer := time.AfterFunc(killWait, func() { s.channel.Close() })
	defer timer.Stop()
	_, _ = s.channel.SendRequest(wire.EndRequest, true, nil) // it fails if the channel ends
	s.channel.Close()
}

// Close ends the listener, and removes its path. Connections that were not accepted are closed.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.end()
		l.finish()
		l.accept <- struct{}{} // for good
		if l.next != nil {
			if a := <-l.next; a.err == nil {
				a.conn.Close()
			}
		}
	})
	return nil
}

// error returns err as that of an operation on the socket.
func (s *socket) error(op string, err error) error {
	return &net.OpError{Op: op, Net: s.network, Addr: inGuest{s.addr}, Err: err}
}

// Accept returns the next connection. Its LocalAddr is the listener's and its RemoteAddr the
// peer's, in the guest.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	select {
	case l.accept <- struct{}{}:
	case <-ctx.Done():
		return nil, l.error("accept", ended(ctx))
	case <-l.ctx.Done():
		return nil, l.closed()
	}
	defer func() { <-l.accept }()
	if l.next == nil {
		next := make(chan accepted, 1)
		l.next = next
		go func() {
			conn, err := l.acceptOne()
			next <- accepted{conn, err}
		}()
	}
	select {
	case a := <-l.next:
		l.next = nil
		return a.conn, a.err
	case <-ctx.Done(): // the next call takes the connection
		return nil, l.error("accept", ended(ctx))
	case <-l.ctx.Done(): // Close closes the connection
		return nil, l.closed()
	}
}

// closed returns the error of Accept on a listener that has ended.
func (l *Listener) closed() error {
	if err := l.client.Err(); err != nil {
		return l.error("accept", err)
	}
	return l.error("accept", net.ErrClosed)
}

// acceptOne waits for a connection.
func (l *Listener) acceptOne() (*Conn, error) {
	ch, requests, err := l.client.open(l.ctx, wire.AcceptChannel, ssh.Marshal(wire.Accept{ID: l.id}))
	if l.ctx.Err() != nil && err != nil {
		return nil, l.closed()
	}
	if err != nil {
		return nil, l.error("accept", refusal(err))
	}
	address, err := readAddress(l.ctx, ch)
	var conn *Conn
	if err == nil {
		t := &target{network: l.network, local: l.addr, remote: wire.Addr(l.network, address), packets: wire.Packets(l.network)}
		if t.remote == nil {
			t.remote = nameAddr{l.network, address}
		}
		conn, err = bridge(l.client, ch, requests, t)
	}
	if err != nil {
		go ssh.DiscardRequests(requests)
		ch.Close()
		return nil, l.error("accept", l.client.lost(err))
	}
	return conn, nil
}
