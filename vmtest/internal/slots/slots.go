// Package slots bounds how many machines run at once on a host, over all processes of
// a user, first come first served.
//
// Each machine that runs or waits to run holds a ticket: a lock on one byte of a common
// file, the byte at its turn. With n slots the n lowest turns run. The kernel releases
// the locks of a process that dies, so the next in line moves up without a clean-up.
package slots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Queue is the line in which the processes of one user wait.
type Queue struct {
	// Path is the common file. It is made, with its directory, if there is none.
	Path string
	// Slots is how many machines may run at once, at least 1.
	Slots int
	// Fits, if not nil, reports whether the host has room for one more machine. It
	// is called only while others run. It reserves nothing, so several callers may
	// find the same room.
	Fits func() bool
}

// Ticket is the right to run one machine, until it is closed.
type Ticket struct {
	file *os.File // holds the lock
	turn int64
}

// Close gives the slot to the next in line.
func (t *Ticket) Close() error { return t.file.Close() }

// Acquire waits for a slot. It calls waiting with the number of machines ahead each
// time that it looks and has to wait.
func (q Queue) Acquire(ctx context.Context, waiting func(ahead int)) (*Ticket, error) {
	ticket, err := q.draw(ctx)
	if err != nil {
		return nil, err
	}
	if err := q.await(ctx, ticket, nil, waiting); err != nil {
		return nil, errors.Join(err, ticket.Close())
	}
	return ticket, nil
}

// await waits for the turn of a ticket. Turns for which skip returns true do not count.
func (q Queue) await(ctx context.Context, t *Ticket, skip func(turn int64) bool, waiting func(ahead int)) error {
	watch, err := watchFile(q.Path)
	if err != nil {
		return fmt.Errorf("watch queue for machines: %w", err)
	}
	defer watch.close()
	for {
		ahead, err := countLocks(t.file, firstTurn, t.turn, skip)
		if err != nil {
			return err
		}
		if ahead == 0 || ahead < q.Slots && (q.Fits == nil || q.Fits()) {
			return nil
		}
		waiting(ahead)
		if err := watch.wait(ctx); err != nil {
			return q.waitError(ahead, err)
		}
	}
}

func (q Queue) waitError(ahead int, err error) error {
	return fmt.Errorf("wait for a slot (%d ahead, limit %d): %w", ahead, q.Slots, err)
}

// Bytes of the file. None is ever written: the first is locked while a process draws a
// ticket, the others are tickets.
const (
	drawByte  = 0
	firstTurn = 1
	lastTurn  = 1 << 40
)

// draw takes the turn after the last one that is taken.
func (q Queue) draw(ctx context.Context) (*Ticket, error) {
	if err := os.MkdirAll(filepath.Dir(q.Path), 0o700); err != nil {
		return nil, fmt.Errorf("open queue for machines: %w", err)
	}
	// Opened for writing, so that closing it is an event for those who wait.
	f, err := os.OpenFile(q.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open queue for machines: %w", err)
	}
	turn, err := drawIn(ctx, f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("draw a turn: %w", err)
	}
	return &Ticket{file: f, turn: turn}, nil
}

// drawPoll is how often to try the lock for drawing. No context can end a blocking
// fcntl(2). Others hold that lock for some system calls, unless they are stopped.
const drawPoll = time.Millisecond

func drawIn(ctx context.Context, f *os.File) (int64, error) {
	for {
		err := lockByte(f, drawByte)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return 0, err
		}
		select {
		case <-time.After(drawPoll):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	last, err := lastLock(f, firstTurn, lastTurn)
	if err != nil {
		return 0, err
	}
	turn := max(last+1, firstTurn)
	if err := lockByte(f, turn); err != nil {
		return 0, err
	}
	return turn, unlockByte(f, drawByte)
}
