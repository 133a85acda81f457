// Package slots bounds how many machines run at once on a host, over all processes
// of a user, first come first served.
//
// Each machine that runs or waits to run is a ticket: a file in a common folder,
// named by its turn and locked by the process that it belongs to. As many as there
// are slots may run, those with the lowest turns. A process that dies lets go of
// its locks, so nothing has to be cleaned up for the next one to move up.
package slots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/gofrs/flock"
)

// Queue is the folder that the processes of one user share.
type Queue struct {
	// Dir holds the tickets. It is made when it is not there.
	Dir string
	// Slots is how many may run at once, at least 1.
	Slots int
	// Fits, when not nil, tells whether the host has room for one more machine. It
	// is not asked when no other runs.
	Fits func() bool
}

// Ticket is the right to run one machine, until it is closed.
type Ticket struct {
	turn int
	lock *flock.Flock
}

// Close gives the slot to the next in line.
func (t *Ticket) Close() error {
	// Removed first: whoever sees the file go away sees it unlocked, or not at all.
	return errors.Join(os.Remove(t.lock.Path()), t.lock.Close())
}

// Acquire waits for a slot. When it has to wait, waiting is told so, each time
// that something changes, with the number of machines before this one.
func (q Queue) Acquire(ctx context.Context, waiting func(before int)) (*Ticket, error) {
	if err := os.MkdirAll(q.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open queue for machines: %w", err)
	}
	watch, err := watchFolder(q.Dir)
	if err != nil {
		return nil, fmt.Errorf("watch queue for machines: %w", err)
	}
	defer watch.close()
	ticket, err := q.draw(ctx)
	if err != nil {
		return nil, err
	}
	for {
		before, err := q.before(ctx, ticket)
		if err != nil {
			ticket.Close()
			return nil, err
		}
		if before < max(q.Slots, 1) && (before == 0 || q.Fits == nil || q.Fits()) {
			return ticket, nil
		}
		waiting(before)
		if err := watch.wait(ctx); err != nil {
			ticket.Close()
			return nil, fmt.Errorf("wait for a slot (%d machines before this one): %w", before, err)
		}
	}
}

// draw takes the next turn.
func (q Queue) draw(ctx context.Context) (*Ticket, error) {
	unlock, err := q.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	turns, err := q.turns()
	if err != nil {
		return nil, err
	}
	turn := 1
	if len(turns) > 0 {
		turn = turns[len(turns)-1] + 1
	}
	// Open for writing, so that its end is an event for those who wait.
	lock := flock.New(q.path(turn), flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, fmt.Errorf("lock new ticket (%t): %w", ok, err)
	}
	return &Ticket{turn: turn, lock: lock}, nil
}

// before counts the tickets with a lower turn whose process lives, and removes
// those whose process has died.
func (q Queue) before(ctx context.Context, t *Ticket) (int, error) {
	unlock, err := q.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	turns, err := q.turns()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, turn := range turns {
		if turn >= t.turn {
			break
		}
		probe := flock.New(q.path(turn), flock.SetFlag(os.O_RDONLY))
		free, err := probe.TryRLock()
		switch {
		case errors.Is(err, os.ErrNotExist): // given back meanwhile
		case err != nil:
			return 0, fmt.Errorf("look at ticket %d: %w", turn, err)
		case free:
			err := os.Remove(q.path(turn))
			probe.Close()
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return 0, fmt.Errorf("remove ticket of a dead process: %w", err)
			}
		default:
			n++
		}
	}
	return n, nil
}

func (q Queue) path(turn int) string {
	return filepath.Join(q.Dir, strconv.Itoa(turn))
}

// turns lists the tickets, lowest turn first.
func (q Queue) turns() ([]int, error) {
	entries, err := os.ReadDir(q.Dir)
	if err != nil {
		return nil, fmt.Errorf("read queue for machines: %w", err)
	}
	var turns []int
	for _, e := range entries {
		if turn, err := strconv.Atoi(e.Name()); err == nil {
			turns = append(turns, turn)
		}
	}
	slices.Sort(turns)
	return turns, nil
}
