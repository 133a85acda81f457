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
	"time"
)

// ErrNotReplayed is wrapped by the error of Resume if this program sends other bytes than
// the record of the session has. Another version of the ssh package may have made the
// record, or that package may draw its random numbers from elsewhere.
var ErrNotReplayed = errors.New("this host does not repeat the recorded session")

// replayTimeout bounds a replay, which waits for no guest and takes some
// milliseconds. A program that sends less than the record has would wait forever.
const replayTimeout = 10 * time.Second

// Handshake is a record of how a session with an agent began. An agent that was
// stopped right after it, in a snapshot of its machine, is in that session in every
// fork, and Resume returns a Client of it.
//
// A handshake in each fork would take longer than all else that a fork does before
// its first answer: an emulator translates code when it first runs, and in a fork
// all code runs for the first time.
//
// The zero value stands for an agent that was stopped while it waited for a host.
type Handshake struct {
	Seed     [32]byte `json:"seed"` // of the host's random numbers
	Sent     []byte   `json:"sent"` // by the host
	Received []Chunk  `json:"received"`
}

// Chunk is the data of one read.
type Chunk struct {
	After int    `json:"after"` // number of bytes that the host had sent before
	Data  []byte `json:"data"`
}

// DialRecorded is Dial, and returns a record of the handshake as well. The record is
// valid until something else passes over the session.
//
// The ssh package may draw random numbers that do not come from the record's seed.
// Then Check fails, and a snapshot is better made of an agent that waits for a host.
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

// Resume returns a Client of the session that h records, with the agent at the other
// end of conn. It exchanges nothing with the agent: it shakes hands with the record,
// using the same random numbers, and so comes to the same keys. If h is the zero
// value, it shakes hands with the agent as Dial does.
//
// conn then belongs to the Client. On an error conn is closed. If the error wraps
// ErrNotReplayed, ctx has not ended and the agent is well: it sees the end of the
// session and waits for a host, so Dial on a new connection succeeds.
func Resume(ctx context.Context, conn net.Conn, h Handshake) (*Client, error) {
	if h.IsZero() {
		return Dial(ctx, conn)
	}
	c, err := h.replay(ctx, conn)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("resume session with guest: %w", ended(ctx))
	}
	return nil, fmt.Errorf("resume session with guest: %w: %w", ErrNotReplayed, err)
}

// IsZero reports whether h records no session.
func (h Handshake) IsZero() bool { return len(h.Sent) == 0 && len(h.Received) == 0 }

// Check returns an error that wraps ErrNotReplayed if Resume would.
func (h Handshake) Check(ctx context.Context) error {
	if h.IsZero() {
		return nil
	}
	conn, nobody := net.Pipe()
	defer nobody.Close()
	c, err := Resume(ctx, conn, h)
	if err != nil {
		return err
	}
	return c.Close()
}

func (h Handshake) replay(ctx context.Context, conn net.Conn) (*Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, replayTimeout, errors.New("the handshake waits for more than the record has"))
	defer cancel()
	p := &player{Conn: conn, record: h}
	p.record.Received = slices.Clone(h.Received)
	p.moved.L = &p.mu
	c, err := h.dial(ctx, p)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	if !p.over() {
		c.Close()
		return nil, errors.New("the record goes on after the handshake")
	}
	return c, nil
}

// dial is Dial with random numbers from the seed. They are the same in all forks,
// which does no harm because only this process and QEMU hold the socket pair.
func (h Handshake) dial(ctx context.Context, conn net.Conn) (*Client, error) {
	c, err := dial(ctx, conn, rand.NewChaCha8(h.Seed))
	if err != nil {
		return nil, err
	}
	// The agent goes on for a while after its last message of the handshake. When
	// it answers this, it has finished and waits.
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
	// Before the write, so that an answer to it is recorded after it.
	r.mu.Lock()
	r.sent = append(r.sent, p...)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

// player answers from a record until that ends, and from then on is the connection
// itself.
type player struct {
	net.Conn
	mu     sync.Mutex
	moved  sync.Cond // when something was sent, or the player was closed
	record Handshake // what is left of Received, all of Sent
	sent   int
	err    error // why no more of the record is read
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

// readRecord returns no bytes and no error when the record has ended.
func (p *player) readRecord(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.record.Received) > 0 {
		next := &p.record.Received[0]
		if p.err != nil {
			return 0, p.err
		}
		if p.sent < next.After {
			// It answers what the host has yet to send.
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
		// The reader fails too, because the ssh package does not report a failed write.
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
