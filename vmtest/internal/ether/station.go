package ether

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// The sizes of frames that pass, without their check sequence: a header at least, and at most
// what QEMU's stream carries.
const (
	minFrame = 14
	maxFrame = 4096 + 65536
)

// Station is a network interface with a cable, whose other end is in a switch or hangs loose.
type Station struct {
	conn    io.ReadWriteCloser
	raw     syscall.RawConn // of conn, or nil
	in, out *cable          // from the station, and to it

	plugging sync.Mutex // held while the cable is plugged or pulled
	ended    bool       // guarded by plugging
	sw       atomic.Pointer[Switch]
	address  Address // in sw, which guards it
	learned  int     // as address

	runts atomic.Int64
	once  sync.Once
	done  chan struct{}
	err   error // once done is closed
	tasks sync.WaitGroup
}

// FrameError reports that a station's stream had what is no frame. The station is closed.
type FrameError struct{ Length uint32 }

func (e *FrameError) Error() string {
	return fmt.Sprintf("a frame of %d bytes: at most %d pass", e.Length, maxFrame)
}

// NewStation returns a station whose frames pass through conn as in QEMU's stream of a netdev:
// each behind its length, as 32 bits in network byte order. Its cable hangs loose. It lives
// until Close or the end of conn, which it closes.
func NewStation(conn io.ReadWriteCloser) *Station {
	s := &Station{conn: conn, out: newCable(nil), done: make(chan struct{})}
	s.in = newCable(s.arrive)
	if c, ok := conn.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn()
	}
	s.tasks.Go(func() { s.end(s.receive()) })
	s.tasks.Go(func() { s.end(s.send()) })
	return s
}

// chunkSize bounds what one read takes from the stream, in bytes. A frame fits with its length.
const chunkSize = 128 << 10

// receive takes frames from the stream until it ends.
func (s *Station) receive() error {
	chunk := make([]byte, chunkSize)
	begun := 0 // bytes of a frame whose end has not arrived
	for {
		n, err := s.conn.Read(chunk[begun:])
		data := chunk[:begun+n]
		packets, rest, frameErr := s.split(data)
		if len(packets) > 0 {
			s.in.pass(packets)
		}
		if err = cmp.Or(frameErr, err); err != nil {
			return err
		}
		if begun = len(rest); begun < len(data) {
			copy(chunk, rest)
		}
	}
}

// split returns copies of the frames of data, each with its length before it, and the beginning of
// the next one. A part of data would keep all of it in memory as long as a frame waits in a queue
// or stays in the capture, whose sizes are those of their frames.
func (s *Station) split(data []byte) (packets [][]byte, rest []byte, err error) {
	for len(data) >= lengthSize {
		n := frameLength(data)
		if n > maxFrame {
			return packets, nil, &FrameError{n}
		}
		end := lengthSize + int(n)
		if len(data) < end {
			break
		}
		if n < minFrame {
			s.runts.Add(1)
		} else {
			packets = append(packets, bytes.Clone(data[:end]))
		}
		data = data[end:]
	}
	return packets, data, nil
}

// arrive is called with the frames from the station at the other end of the cable.
func (s *Station) arrive(packets [][]byte) {
	if sw := s.sw.Load(); sw != nil {
		sw.forward(s, packets)
	}
}

// send gives frames to the stream until the station is closed.
func (s *Station) send() error {
	for {
		batch, ok := s.out.take()
		if !ok {
			return nil
		}
		buffers := net.Buffers(batch)
		if _, err := buffers.WriteTo(s.conn); err != nil {
			return err
		}
		s.out.delivered(nil)
	}
}

// maxVector bounds the parts of one sendmsg(2) (UIO_MAXIOV).
const maxVector = 1024

// now gives the stream what it takes without waiting, and returns the rest. The goroutine of the
// sender calls it: to wake that of send costs more than the call, on a host whose processors are
// busy with guests.
func (s *Station) now(batch [][]byte) (rest [][]byte) {
	if s.raw == nil {
		return batch
	}
	var n int
	s.raw.Write(func(fd uintptr) bool {
		n, _ = unix.SendmsgBuffers(int(fd), batch[:min(len(batch), maxVector)], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		return true // send meets an error again
	})
	for len(batch) > 0 && n >= len(batch[0]) {
		n -= len(batch[0])
		batch = batch[1:]
	}
	if n > 0 {
		batch[0] = batch[0][n:]
	}
	return batch
}

// Plug plugs the cable into a switch, where the station has an address. Faults are without
// effect until they are set again, and seed decides about them. A cable that is plugged
// elsewhere is pulled there. Plug does nothing once the station is closed.
func (s *Station) Plug(sw *Switch, address Address, seed uint64) {
	s.plugging.Lock()
	defer s.plugging.Unlock()
	if s.ended {
		return
	}
	s.pull()
	s.in.reset(2 * seed)
	s.out.reset(2*seed + 1)
	sw.add(s, address)
	s.sw.Store(sw)
}

// Pull pulls the cable.
func (s *Station) Pull() {
	s.plugging.Lock()
	defer s.plugging.Unlock()
	s.pull()
}

func (s *Station) pull() {
	if sw := s.sw.Swap(nil); sw != nil {
		sw.remove(s)
	}
}

// end closes the station, because of err if that is the first reason.
func (s *Station) end(err error) {
	s.once.Do(func() {
		if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			s.err = err
		}
		s.plugging.Lock()
		s.ended = true
		s.pull()
		s.plugging.Unlock()
		s.in.close()
		s.out.close()
		s.conn.Close()
		close(s.done)
	})
}

// Close pulls the cable and closes the stream. Further calls do nothing.
func (s *Station) Close() {
	s.end(nil)
	s.tasks.Wait()
}

// Done is closed once the station is.
func (s *Station) Done() <-chan struct{} { return s.done }

// Err returns why the station was closed: nil if its stream ended, if Close was called, or as
// long as it is open.
func (s *Station) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// SetFaults sets what happens from now on to the frames from the station, and to those to it.
func (s *Station) SetFaults(from, to Faults) {
	s.in.set(from)
	s.out.set(to)
}

// Counters are what a station has counted since it began.
type Counters struct {
	Runts    int64 // frames from it that were shorter than a header, and dropped
	Dropped  int64 // frames to it for which the queue had no room
	LostFrom int64 // frames from it, and frames to it, that Faults took
	LostTo   int64
}

// Counters returns what the station has counted so far.
func (s *Station) Counters() Counters {
	return Counters{s.runts.Load(), s.out.dropped.Load(), s.in.lost.Load(), s.out.lost.Load()}
}
