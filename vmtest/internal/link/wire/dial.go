package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"syscall"
)

// DialChannel is the type of a channel to a socket in the guest for which SSH has none: one of
// packets, or with a source. Its extra data is a Dial. A channel to a FIFO or a message queue
// has data in one direction alone, that of its operation.
const DialChannel = "dial" + Domain

// Dial names a socket in the guest.
type Dial struct {
	Network, Address string // as for net.Dial
	Source           string // the address to connect from; "" is any
	User             string // whose process connects, for SO_PEERCRED (socket(7)); "" is root

	// Op is what is done with a FIFO or a message queue: ReadOp, WriteOp, or "" to see
	// whether it is there. A channel that reads a queue has one message, and one that
	// writes is accepted when Message is in the queue.
	Op      string
	Message string
}

// Operations of a Dial.
const (
	ReadOp  = "read"
	WriteOp = "write"
)

// Packets reports whether each read and write of a network is a packet. The data of its channel
// are packets, each behind its length as 32 bits in network byte order.
func Packets(network string) bool {
	switch network {
	case "udp", "udp4", "udp6", "unixgram", "unixpacket", "mqueue":
		return true
	}
	return false
}

// MaxPacket bounds a packet, in bytes. One of UDP has 65,507 at most.
const MaxPacket = 64 << 10

// failed in the place of a length begins the number of the error that ended the socket.
const failed = 1<<32 - 1

// WritePacket writes a packet.
func WritePacket(w io.Writer, packet []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(packet)), uint32(len(packet))), packet...))
	return err
}

// WriteFailure writes the error with which the socket ended.
func WriteFailure(w io.Writer, err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	_, err = w.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, failed), uint32(errno)))
	return err
}

// ReadPacket reads a packet into p, which has MaxPacket bytes, and returns its length. The error
// is a syscall.Errno if the other end wrote a failure.
func ReadPacket(r io.Reader, p []byte) (int, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == failed {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return 0, err
		}
		return 0, syscall.Errno(binary.BigEndian.Uint32(head[:]))
	}
	if n > uint32(len(p)) {
		return 0, errors.New("a packet is too long")
	}
	_, err := io.ReadFull(r, p[:n])
	return int(n), err
}
