package agent

import (
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// listeners are those of a connection, by the number that its client chose.
type listeners struct {
	mu   sync.Mutex
	byID map[uint32]*listener
}

type listener struct {
	net.Listener
	network string
}

// set adds a listener, or removes it if it is nil.
func (l *listeners) set(id uint32, one *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil {
		l.byID = make(map[uint32]*listener)
	}
	if l.byID[id] = one; one == nil {
		delete(l.byID, id)
	}
}

func (l *listeners) get(id uint32) *listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[id]
}

// listen listens on a socket until the channel ends.
func (c *connection) listen(channel ssh.NewChannel) {
	var at wire.Listen
	if err := ssh.Unmarshal(channel.ExtraData(), &at); err != nil {
		_ = channel.Reject(ssh.ConnectionFailed, "read address: "+err.Error())
		return
	}
	if wire.Datagrams(at.Network) {
		c.listenPackets(channel, at)
		return
	}
	socket, err := new(net.ListenConfig).Listen(c.ctx, at.Network, at.Address)
	if err == nil {
		defer socket.Close()
		err = openToAll(at)
	}
	if err != nil {
		reject(channel, err)
		return
	}
	c.listeners.set(at.ID, &listener{socket, at.Network})
	defer c.listeners.set(at.ID, nil)
	ch, requests, err := channel.Accept()
	if err != nil {
		c.log.Debug("accept listener", "network", at.Network, "address", at.Address, "err", err)
		return
	}
	if err := wire.WritePacket(ch, []byte(socket.Addr().String())); err == nil {
		untilClosed(requests, func() { socket.Close() })
	}
	_ = ch.Close()
}

// openToAll lets all users connect to a path, because many daemons do not run as root.
func openToAll(at wire.Listen) error {
	if !strings.HasPrefix(at.Network, "unix") || strings.HasPrefix(at.Address, "@") {
		return nil
	}
	return os.Chmod(at.Address, 0o666)
}

// untilClosed waits until the host has closed a channel. It calls end first if the host asks for
// that.
func untilClosed(requests <-chan *ssh.Request, end func()) {
	for req := range requests {
		asked := req.Type == wire.EndRequest
		if asked {
			end()
		}
		_ = req.Reply(asked, nil)
	}
}

// acceptNext connects a channel to the next connection of a listener.
func (c *connection) acceptNext(channel ssh.NewChannel) {
	var from wire.Accept
	if err := ssh.Unmarshal(channel.ExtraData(), &from); err != nil {
		_ = channel.Reject(ssh.ConnectionFailed, "read listener: "+err.Error())
		return
	}
	l := c.listeners.get(from.ID)
	if l == nil {
		_ = channel.Reject(ssh.ConnectionFailed, net.ErrClosed.Error())
		return
	}
	conn, err := l.Accept()
	if err != nil {
		reject(channel, err)
		return
	}
	defer conn.Close()
	ch, requests, err := channel.Accept()
	if err != nil {
		c.log.Debug("accept connection in the guest", "network", l.network, "err", err)
		return
	}
	if err := wire.WritePacket(ch, []byte(name(conn.RemoteAddr()))); err != nil {
		go ssh.DiscardRequests(requests)
		_ = ch.Close()
		return
	}
	c.carry(l.network, ch, requests, conn)
}

// name returns an address, or "" for a client that has none.
func name(addr net.Addr) string {
	if unix, ok := addr.(*net.UnixAddr); ok && (unix == nil || unix.Name == "@") {
		return ""
	} else if addr == nil {
		return ""
	}
	return addr.String()
}

// listenPackets passes datagrams to a socket and from it, each with an address.
func (c *connection) listenPackets(channel ssh.NewChannel, at wire.Listen) {
	socket, err := new(net.ListenConfig).ListenPacket(c.ctx, at.Network, at.Address)
	end := func() {}
	if err == nil {
		end = sync.OnceFunc(func() {
			// The path goes first: the end of the socket ends the channel, which tells the host
			// that both are gone.
			if at.Network == "unixgram" && !strings.HasPrefix(at.Address, "@") { // package net leaves it
				_ = os.Remove(at.Address)
			}
			socket.Close()
		})
		defer end()
		err = openToAll(at)
	}
	if err != nil {
		reject(channel, err)
		return
	}
	ch, requests, err := channel.Accept()
	if err != nil {
		c.log.Debug("accept listener", "network", at.Network, "address", at.Address, "err", err)
		return
	}
	d := &datagrams{ch: ch, socket: socket, network: at.Network}
	var tasks sync.WaitGroup
	received := make(chan struct{})
	if err := wire.WritePacket(ch, []byte(socket.LocalAddr().String())); err == nil {
		tasks.Go(d.send)
		tasks.Go(func() {
			defer close(received)
			d.receive()
		})
	} else {
		close(received)
		_ = ch.Close()
	}
	finish := func() { // what the host has written is still sent
		select {
		case <-received:
		case <-time.After(lingerTimeout):
		}
		end()
	}
	untilClosed(requests, finish)
	finish()
	tasks.Wait()
}

// datagrams passes datagrams between a channel and a socket.
type datagrams struct {
	ch      ssh.Channel
	socket  net.PacketConn
	network string
	writing sync.Mutex // held while something is written to ch
}

func (d *datagrams) write(a wire.Addressed) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	return wire.WriteAddressed(d.ch, a)
}

// send sends the host what the socket gets.
func (d *datagrams) send() {
	defer d.ch.Close()
	p := make([]byte, wire.MaxPacket+1)
	for {
		n, from, err := d.socket.ReadFrom(p)
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue // an answer to an earlier datagram
		}
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				d.writing.Lock()
				defer d.writing.Unlock()
				_ = wire.WriteFailure(d.ch, err)
			}
			return
		}
		a := wire.Addressed{Address: name(from), Data: p[:n]}
		if n > wire.MaxPacket {
			a.Op, a.Errno, a.Data = "read", uint32(syscall.EMSGSIZE), nil
		}
		if err := d.write(a); err != nil {
			return
		}
	}
}

// receive sends from the socket what the host writes.
func (d *datagrams) receive() {
	p := make([]byte, wire.MaxAddressed)
	for {
		a, err := wire.ReadAddressed(d.ch, p)
		if err != nil {
			return
		}
		if to := wire.Addr(d.network, a.Address); to == nil {
			err = syscall.EINVAL
		} else {
			// The receiver's queue may be full, and others wait.
			_ = d.socket.SetWriteDeadline(time.Now().Add(lingerTimeout))
			_, err = d.socket.WriteTo(a.Data, to)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = syscall.EAGAIN
		}
		if err == nil || errors.Is(err, net.ErrClosed) {
			continue
		}
		if err := d.write(wire.Addressed{Address: a.Address, Op: "write", Errno: uint32(wire.ErrnoOf(err))}); err != nil {
			return
		}
	}
}
