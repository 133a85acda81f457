package link

import (
	"bytes"
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
)

// Handshake is a record of how a session with an agent began. An agent that has
// been stopped right after it, in a snapshot of its machine, goes on with that
// session in every copy, and Resume makes a Client that does so too.
//
// A copy would spend more time on a handshake of its own than on all else that it
// needs to come alive: under emulation code costs most the first time it runs, and
// in a new machine all code runs for the first time.
type Handshake struct {
	Seed     [32]byte `json:"seed"` // of the host's random numbers
	Sent     []byte   `json:"sent"` // by the host
	Received []Chunk  `json:"received"`
}

// Chunk is what the host received at a time, after it had sent so many bytes.
type Chunk struct {
	After int    `json:"after"`
	Data  []byte `json:"data"`
}

// DialRecorded is Dial with a record of the handshake, which is of use as long as
// nothing else has passed over the session.
func DialRecorded(ctx context.Context, conn net.Conn) (*Client, Handshake, error) {
	var h Handshake
	crand.Read(h.Seed[:]) // never fails (crypto/rand)
	r := &recorder{Conn: conn}
	c, err := h.dial(ctx, r)
	if err != nil {
		return nil, Handshake{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h.Sent, h.Received = r.sent, r.received
	return c, h, nil
}

// Resume returns a Client of the session that h is the beginning of, with the agent
// at the other end of conn, which then belongs to the Client; on an error conn is
// closed. It exchanges nothing with the agent: it shakes hands with the record, with
// the random numbers of that time, and so comes to the same keys.
func Resume(ctx context.Context, conn net.Conn, h Handshake) (*Client, error) {
	p := &player{Conn: conn, record: h}
	p.record.Received = slices.Clone(h.Received)
	p.moved.L = &p.mu
	c, err := h.dial(ctx, p)
	if err != nil {
		return nil, err
	}
	if !p.over() {
		c.Close()
		return nil, errors.New("resume session with guest: the record goes on after the handshake")
	}
	return c, nil
}

// Check tells whether a host would still say what it has said in the record: not when
// it was made by a version of this package, or of the ssh package, that differs.
func (h Handshake) Check(ctx context.Context) error {
	conn, nobody := net.Pipe()
	defer nobody.Close()
	c, err := Resume(ctx, conn, h)
	if err != nil {
		return err
	}
	return c.Close()
}

// dial is Dial with random numbers from the seed. That they are the same in all
// copies of a machine does no harm, because nobody can listen on a socket pair.
func (h Handshake) dial(ctx context.Context, conn net.Conn) (*Client, error) {
	c, err := dial(ctx, conn, rand.NewChaCha8(h.Seed))
	if err != nil {
		return nil, err
	}
	// The agent has more to do after its last word of the handshake. With an answer
	// to this it is through, and waits.
	if err := c.Ping(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("shake hands with guest: %w", err)
	}
	return c, nil
}

// recorder keeps what passes over a connection.
type recorder struct {
	net.Conn
	mu       sync.Mutex
	sent     []byte
	received []Chunk
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > 0 {
		r.received = append(r.received, Chunk{len(r.sent), bytes.Clone(p[:n])})
	}
	return n, err
}

func (r *recorder) Write(p []byte) (int, error) {
	// Noted first, so that no answer to it can be noted before.
	r.mu.Lock()
	r.sent = append(r.sent, p...)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

// player answers from a record for as long as it goes, and is the connection itself
// from then on.
type player struct {
	net.Conn
	mu     sync.Mutex
	moved  sync.Cond // something was sent, or the player closed
	record Handshake // what is left of Received, all of Sent
	sent   int
	err    error // why no more of it is read
}

func (p *player) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent == len(p.record.Sent) && len(p.record.Received) == 0
}

func (p *player) Read(b []byte) (int, error) {
	if n, err := p.readRecord(b); n > 0 || err != nil {
		return n, err
	}
	return p.Conn.Read(b)
}

// readRecord returns 0 bytes when the record has ended.
func (p *player) readRecord(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.record.Received) > 0 {
		next := &p.record.Received[0]
		if p.err != nil {
			return 0, p.err
		}
		if p.sent < next.After {
			// Not before the host has said what it is an answer to.
			p.moved.Wait()
			continue
		}
		n := copy(b, next.Data)
		if next.Data = next.Data[n:]; len(next.Data) == 0 {
			p.record.Received = p.record.Received[1:]
		}
		return n, nil
	}
	return 0, nil
}

func (p *player) Write(b []byte) (int, error) {
	p.mu.Lock()
	known := p.record.Sent[p.sent:]
	known = known[:min(len(b), len(known))]
	if !bytes.Equal(b[:len(known)], known) {
		// The reader is told too: the ssh package keeps a failed write to itself.
		p.err = errors.New("the handshake differs from the recorded one")
	}
	p.sent += len(known)
	p.moved.Broadcast()
	err := p.err
	p.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if len(known) == len(b) {
		return len(b), nil
	}
	n, err := p.Conn.Write(b[len(known):])
	return len(known) + n, err
}

func (p *player) Close() error {
	p.mu.Lock()
	p.err = cmp.Or(p.err, net.ErrClosed)
	p.moved.Broadcast()
	p.mu.Unlock()
	return p.Conn.Close()
}
