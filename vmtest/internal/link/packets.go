package link

import (
	"bufio"
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// A packet in the socket pair begins with a byte that says nothing: without it, reading an empty
// one would look like the end of all.

// readNear reads bytes, or a packet. p takes the beginning of one that is longer.
func (n *Conn) readNear(p []byte) (int, error) {
	if !n.target.packets {
		return n.near.Read(p)
	}
	packet := make([]byte, 1+len(p))
	read, err := n.near.Read(packet)
	if read == 0 {
		return 0, err
	}
	return copy(p, packet[1:read]), err
}

// writeNear writes bytes, or a packet.
func (n *Conn) writeNear(p []byte) (int, error) {
	if !n.target.packets {
		return n.near.Write(p)
	}
	if len(p) > n.target.longest() {
		return 0, syscall.EMSGSIZE
	}
	written, err := n.near.Write(append([]byte{0}, p...))
	return max(written-1, 0), err
}

// sendPackets is send for packets.
func (n *Conn) sendPackets(ch ssh.Channel, far *net.UnixConn) {
	p := make([]byte, 1+n.target.longest())
	for {
		read, err := far.Read(p)
		if err == nil {
			err = wire.WritePacket(ch, p[1:read])
		}
		if err != nil {
			break
		}
	}
	if n.target.addressed && !n.closed.Load() {
		_ = ch.CloseWrite()
	} else {
		_ = ch.Close()
	}
}

// receivePackets is receive for packets.
func (n *Conn) receivePackets(ch ssh.Channel, far *net.UnixConn) error {
	r, p := bufio.NewReader(ch), make([]byte, 1+n.target.longest())
	for {
		read, err := wire.ReadPacket(r, p[1:])
		if err == io.EOF {
			return nil
		}
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			failure := error(errno)
			n.lost.Store(&failure)
			return err
		}
		if err == nil {
			_, err = far.Write(p[:1+read])
		}
		if err != nil {
			return err
		}
	}
}
