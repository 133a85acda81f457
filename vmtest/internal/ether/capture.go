package ether

import (
	"bufio"
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// maxCaptured bounds what a switch remembers of the frames that came into it, in bytes.
const maxCaptured = 8 << 20

// capture is the last frames that came into a switch.
type capture struct {
	mu     sync.Mutex
	frames []captured
	size   int
	gone   int // frames before these
}

type captured struct {
	at    time.Time
	frame []byte
}

// frameCost is what a frame costs beside its bytes.
const frameCost = 64

// add adds frames, each with its length before it.
func (c *capture) add(packets [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for _, packet := range packets {
		c.frames = append(c.frames, captured{now, packet[lengthSize:]})
		c.size += len(packet) - lengthSize + frameCost
	}
	for c.size > maxCaptured {
		c.size -= len(c.frames[0].frame) + frameCost
		c.frames[0].frame = nil
		c.frames = c.frames[1:]
		c.gone++
	}
}

// Captured returns how many frames WriteCapture writes, and how many came before those.
func (s *Switch) Captured() (frames, gone int) {
	s.capture.mu.Lock()
	defer s.capture.mu.Unlock()
	return len(s.capture.frames), s.capture.gone
}

// Blocks of a pcapng file (draft-ietf-opsawg-pcapng).
const (
	sectionHeader  = 0x0a0d0d0a
	interfaceBlock = 1
	packetBlock    = 6

	byteOrder    = 0x1a2b3c4d
	linkEthernet = 1
)

// WriteCapture writes the last frames that came into the switch, up to 8 MiB, as a pcapng file,
// which wireshark(1) and tcpdump(8) read.
func (s *Switch) WriteCapture(w io.Writer) error {
	s.capture.mu.Lock()
	frames := append([]captured(nil), s.capture.frames...)
	s.capture.mu.Unlock()
	out := bufio.NewWriter(w)
	le := binary.LittleEndian
	block := func(kind uint32, body []byte) {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		size := uint32(12 + len(body))
		b := le.AppendUint32(le.AppendUint32(nil, kind), size)
		out.Write(le.AppendUint32(append(b, body...), size)) // Flush returns its error
	}
	header := le.AppendUint16(le.AppendUint16(le.AppendUint32(nil, byteOrder), 1), 0)
	block(sectionHeader, le.AppendUint64(header, ^uint64(0))) // of unknown length
	block(interfaceBlock, le.AppendUint32(le.AppendUint32(nil, linkEthernet), 0))
	for _, f := range frames {
		micros := uint64(f.at.UnixMicro())
		body := le.AppendUint32(nil, 0) // the interface
		body = le.AppendUint32(le.AppendUint32(body, uint32(micros>>32)), uint32(micros))
		body = le.AppendUint32(le.AppendUint32(body, uint32(len(f.frame))), uint32(len(f.frame)))
		block(packetBlock, append(body, f.frame...))
	}
	return out.Flush()
}
