package agent

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// stream makes a net.Conn of a byte stream for the ssh package. It holds back what the
// server writes, its identification line, until a line of the peer has come. If there is
// no host, a serial port loses what is written to it or delivers it to a later host. A
// machine that is stopped for a snapshot before its host sends has sent nothing in part.
type stream struct {
	io.ReadWriteCloser

	mu     sync.Mutex
	spoken bool
	held   []byte
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadWriteCloser.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spoken || bytes.IndexByte(p[:n], '\n') < 0 {
		return n, err
	}
	s.spoken = true
	if held := s.held; len(held) > 0 {
		s.held = nil
		if _, err := s.ReadWriteCloser.Write(held); err != nil {
			return n, err
		}
	}
	return n, err
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	if !s.spoken {
		s.held = append(s.held, p...)
		s.mu.Unlock()
		return len(p), nil
	}
	s.mu.Unlock()
	return s.ReadWriteCloser.Write(p)
}

func (s *stream) LocalAddr() net.Addr  { return streamAddr{} }
func (s *stream) RemoteAddr() net.Addr { return streamAddr{} }

// The ssh package sets no deadlines. Serve ends by closing the stream.

func (s *stream) SetDeadline(time.Time) error      { return nil }
func (s *stream) SetReadDeadline(time.Time) error  { return nil }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

type streamAddr struct{}

func (streamAddr) Network() string { return "stream" }
func (streamAddr) String() string  { return "guest link" }
