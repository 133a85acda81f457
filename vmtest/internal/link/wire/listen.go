package wire

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/crypto/ssh"
)

const (
	// ListenChannel is the type of a channel for which the agent listens on a socket in the
	// guest until the channel ends. Its extra data is a Listen. The agent sends the
	// listener's address on it, by WritePacket. For datagrams Addressed packets follow, in
	// both directions.
	ListenChannel = "listen" + Domain

	// AcceptChannel is the type of a channel that the agent accepts when it has accepted a
	// connection on a listener. Its extra data is an Accept. The agent sends the address of
	// the peer on it, by WritePacket, and then what the peer sends.
	AcceptChannel = "accept" + Domain

	// EndRequest on a ListenChannel closes the socket. The agent answers it then.
	EndRequest = "end" + Domain
)

// Listen says where to listen.
type Listen struct {
	ID               uint32 // for Accept; the client chooses it
	Network, Address string // as for net.Listen and net.ListenPacket
}

// Accept names a listener.
type Accept struct{ ID uint32 }

// Datagrams reports whether the sockets of a network are not connected.
func Datagrams(network string) bool {
	return network != "unixpacket" && network != "mqueue" && Packets(network)
}

// Addressed is a datagram with the address that it comes from or goes to. It is marshalled by
// the ssh package.
type Addressed struct {
	Address string
	Op      string // "read" or "write" if that failed, or ""
	Errno   uint32 // why
	Data    []byte `ssh:"rest"`
}

// MaxAddressed bounds an Addressed, in bytes.
const MaxAddressed = MaxPacket + 1<<10

// ReadAddressed reads an Addressed. p has room for MaxAddressed bytes, and Data is a part of it.
func ReadAddressed(r io.Reader, p []byte) (a Addressed, err error) {
	n, err := ReadPacket(r, p)
	if err == nil {
		err = ssh.Unmarshal(p[:n], &a)
	}
	return a, err
}

// WriteAddressed writes an Addressed.
func WriteAddressed(w io.Writer, a Addressed) error { return WritePacket(w, ssh.Marshal(a)) }

// ErrnoOf returns the number of a system call's error, or EIO.
func ErrnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return syscall.EIO
	}
	return errno
}

// Addr returns an address as package net has it for a network, or nil if text is none. A client
// of a unix socket may have no name.
func Addr(network, text string) net.Addr {
	switch network {
	case "unix", "unixgram", "unixpacket":
		return &net.UnixAddr{Net: network, Name: text}
	}
	at, err := netip.ParseAddrPort(text)
	switch {
	case err != nil:
		return nil
	case Packets(network):
		return net.UDPAddrFromAddrPort(at)
	}
	return net.TCPAddrFromAddrPort(at)
}
