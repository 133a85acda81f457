// Package slots bounds how many machines run at once on a host, over all processes
// of a user, first come first served.
//
// Each machine that runs or waits to run holds a ticket: a lock on one byte of a
// common file, the byte at its turn. As many as there are slots may run, those with
// the lowest turns. The kernel takes back the locks of a process that dies, so that
// nothing is left to be cleaned up before the next one can move up.
package slots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Queue is the line in which the processes of one user wait.
type Queue struct {
	// Path is the common file. It is made, with its folder, when it is not there.
	Path string
	// Slots is how many may run at once, at least 1.
	Slots int
	// Fits, when not nil, tells whether the host has room for one more machine. It
	// is not asked when no other runs. Nothing is reserved: several may be told so
	// of the same room.
	Fits func() bool
}

// Ticket is the right to run one machine, until it is closed.
type Ticket struct {
	file *os.File // holds the lock
	turn int64
}

// Close gives the slot to the next in line.
func (t *Ticket) Close() error { return t.file.Close() }

// Acquire waits for a slot. Each time that it finds that it has to wait, waiting is
// told how many machines are before this one.
func (q Queue) Acquire(ctx context.Context, waiting func(before int)) (*Ticket, error) {
	if err := os.MkdirAll(filepath.Dir(q.Path), 0o700); err != nil {
		return nil, fmt.Errorf("open queue for machines: %w", err)
	}
	ticket, err := q.draw()
	if err != nil {
		return nil, err
	}
	if err := q.await(ctx, ticket, waiting); err != nil {
		return nil, errors.Join(err, ticket.Close())
	}
	return ticket, nil
}

func (q Queue) await(ctx context.Context, t *Ticket, waiting func(before int)) error {
	watch, err := watchFile(q.Path)
	if err != nil {
		return fmt.Errorf("watch queue for machines: %w", err)
	}
	defer watch.close()
	for {
		before, err := countLocks(t.file, firstTurn, t.turn)
		if err != nil {
			return err
		}
		if before == 0 || before < q.Slots && (q.Fits == nil || q.Fits()) {
			return nil
		}
		waiting(before)
		if err := watch.wait(ctx); err != nil {
			return fmt.Errorf("wait for a slot (%d machines before this one): %w", before, err)
		}
	}
}

// The file's bytes, none of which is ever written: the first is locked by who draws
// a ticket, the others are tickets.
const (
	drawByte  = 0
	firstTurn = 1
	lastTurn  = 1 << 40
)

// draw takes the turn after the last one that is taken.
func (q Queue) draw() (*Ticket, error) {
	// Opened for writing, so that its end is an event for those who wait.
	f, err := os.OpenFile(q.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open queue for machines: %w", err)
	}
	turn, err := drawIn(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("draw a turn: %w", err)
	}
	return &Ticket{file: f, turn: turn}, nil
}

func drawIn(f *os.File) (int64, error) {
	// Held for a few system calls, so it blocks.
	if err := lockByte(f, drawByte, true); err != nil {
		return 0, err
	}
	last, err := lastLock(f, firstTurn, lastTurn)
	if err != nil {
		return 0, err
	}
	turn := max(last+1, firstTurn)
	if err := lockByte(f, turn, false); err != nil {
		return 0, err
	}
	return turn, unlockByte(f, drawByte)
}
