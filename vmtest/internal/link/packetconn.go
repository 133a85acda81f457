package link

import (
	"context"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// PacketConn is a socket in the guest for datagrams, which is connected to none. It implements
// net.PacketConn.
type PacketConn struct {
	conn   *Conn // each of its packets is a wire.Addressed
	socket socket
}

// ListenPacket opens a socket for datagrams in the guest: network and address are as for
// net.ListenPacket there. ctx bounds the opening alone. The caller closes the socket.
func (c *Client) ListenPacket(ctx context.Context, network, address string) (*PacketConn, error) {
	if of := []string{"udp", "udp4", "udp6", "unixgram"}; !slices.Contains(of, network) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: unknownNetwork(network, of)}
	}
	p := new(PacketConn)
	p.socket.client, p.socket.network = c, network
	requests, err := p.socket.open(ctx, wire.Listen{Network: network, Address: address})
	if err != nil {
		return nil, err
	}
	t := &target{network: network, local: p.socket.addr, remote: p.socket.addr, packets: true, addressed: true}
	p.conn, err = bridge(c, p.socket.channel, requests, t)
	if err != nil {
		go ssh.DiscardRequests(requests)
		p.socket.channel.Close()
		return nil, p.socket.error("listen", err)
	}
	return p, nil
}

// ReadFrom reads a datagram, and returns where it comes from. An earlier WriteTo that has failed
// in the guest fails it, once.
func (p *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	buf := make([]byte, wire.MaxAddressed)
	n, err := p.conn.Read(buf)
	if err == io.EOF { // the guest has closed it
		err = p.socket.error("read", net.ErrClosed)
	}
	if err != nil {
		return 0, nil, err
	}
	var a wire.Addressed
	if err := ssh.Unmarshal(buf[:n], &a); err != nil {
		return 0, nil, p.socket.error("read", err)
	}
	from := wire.Addr(p.socket.network, a.Address)
	if from == nil {
		from = nameAddr{p.socket.network, a.Address}
	}
	if a.Errno != 0 {
		return 0, from, &net.OpError{Op: a.Op, Net: p.socket.network, Source: inGuest{p.socket.addr}, Addr: inGuest{from}, Err: syscall.Errno(a.Errno)}
	}
	return copy(b, a.Data), from, nil
}

// WriteTo sends a datagram. It returns before the guest has sent it.
func (p *PacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if len(b) > wire.MaxPacket {
		return 0, p.socket.error("write", syscall.EMSGSIZE)
	}
	address := ""
	if to != nil {
		address = to.String()
	}
	if address == "" { // such as that of a sender without a name
		return 0, p.socket.error("write", syscall.EDESTADDRREQ)
	}
	if _, err := p.conn.Write(ssh.Marshal(wire.Addressed{Address: address, Data: b})); err != nil {
		return 0, err
	}
	return len(b), nil
}

// LocalAddr returns the address in the guest.
func (p *PacketConn) LocalAddr() net.Addr { return p.socket.addr }

// SetDeadline sets the deadlines of ReadFrom and WriteTo.
func (p *PacketConn) SetDeadline(t time.Time) error { return p.conn.SetDeadline(t) }

// SetReadDeadline sets the deadline of ReadFrom.
func (p *PacketConn) SetReadDeadline(t time.Time) error { return p.conn.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of WriteTo.
func (p *PacketConn) SetWriteDeadline(t time.Time) error { return p.conn.SetWriteDeadline(t) }

// Close closes the socket, and removes its path. What was written is sent first.
func (p *PacketConn) Close() error {
	p.socket.once.Do(func() {
		_ = p.conn.near.CloseWrite()
		select {
		case <-p.conn.sent:
		case <-time.After(lingerTimeout):
		}
		p.socket.finish()
	})
	return p.conn.Close()
}
