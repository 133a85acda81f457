package slots

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// Holders are the slots that this process holds or waits for. A test holds one slot
// however many machines it starts, and its subtests share it: two tests that each hold
// one slot and wait for a second one would wait forever. The zero value has none.
//
// A machine that no test starts has no name by which it could share a slot. So it does
// not wait for the tests of this process, nor they for it: the test that starts it may
// be one of them. Between tests, between such machines and between processes the limit
// is exact.
type Holders struct {
	mu    sync.Mutex
	holds map[*hold]bool
}

// hold is one ticket and what shares it.
type hold struct {
	name   string
	path   string // of the queue
	ticket *Ticket
	users  int           // guarded by Holders.mu
	ready  chan struct{} // closed once the wait for the ticket's turn is over
	err    error         // of that wait
}

// Request describes a slot that is asked for.
type Request struct {
	Queue Queue
	// Name is the name of the test that starts the machine, "" for none. The test
	// "a/b" shares a slot of the test "a".
	Name string
	// Notice, if not nil, is called with the place in the queue while the wait lasts.
	Notice func(text string)
}

// Hold is a share of a slot.
type Hold struct {
	// Queued is how long Acquire waited for the slot.
	Queued time.Duration

	holders *Holders
	hold    *hold
	once    sync.Once
	err     error
}

// Acquire waits for a slot, unless a test shares one that this process holds, or waits
// for one that this process waits for. A context from WithHold shares that hold's slot.
// The caller releases the hold once its machine is gone; the slot is free when all who
// share it have.
func (h *Holders) Acquire(ctx context.Context, r Request) (*Hold, error) {
	began := time.Now()
	for {
		shared, own, err := h.join(ctx, r)
		if err != nil {
			return nil, err
		}
		err = h.wait(ctx, shared, own, r)
		if err == nil {
			return &Hold{Queued: time.Since(began), holders: h, hold: shared}, nil
		}
		if own || ctx.Err() != nil {
			return nil, err
		}
		// The wait that was shared has failed, perhaps by its caller's own deadline.
	}
}

// join returns a hold that a caller may share, or one of its own with a new ticket.
func (h *Holders) join(ctx context.Context, r Request) (shared *hold, own bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if carried, ok := ctx.Value(holdKey{}).(*hold); ok && h.holds[carried] {
		carried.users++
		return carried, false, nil
	}
	for other := range h.holds {
		if covers(other.name, r.Name) {
			other.users++
			return other, false, nil
		}
	}
	ticket, err := r.Queue.draw()
	if err != nil {
		return nil, false, err
	}
	if h.holds == nil {
		h.holds = make(map[*hold]bool)
	}
	shared = &hold{name: r.Name, path: r.Queue.Path, ticket: ticket, users: 1, ready: make(chan struct{})}
	h.holds[shared] = true
	return shared, true, nil
}

// wait waits until a hold that was joined is ready, and leaves it on an error.
func (h *Holders) wait(ctx context.Context, shared *hold, own bool, r Request) error {
	if own {
		h.queue(ctx, shared, r)
	}
	select {
	case <-shared.ready:
		if shared.err == nil {
			return nil
		}
		return errors.Join(shared.err, h.leave(shared))
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), h.leave(shared))
	}
}

// covers reports whether the test holder, or one above it, is the test name.
func covers(holder, name string) bool {
	return holder != "" && (name == holder || strings.HasPrefix(name, holder+"/"))
}

// queue waits for the turn of a hold's ticket, and then makes the hold ready.
func (h *Holders) queue(ctx context.Context, own *hold, r Request) {
	reminder := startReminder(r.Queue.Slots, r.Notice)
	own.err = r.Queue.await(ctx, own.ticket, h.apartFrom(own), reminder.waiting)
	reminder.stop()
	if own.err != nil {
		h.mu.Lock()
		delete(h.holds, own) // nobody joins it any more
		h.mu.Unlock()
	}
	close(own.ready)
}

// apartFrom returns a function that reports whether a turn is one for which a hold does
// not wait; see Holders.
func (h *Holders) apartFrom(own *hold) func(turn int64) bool {
	return func(turn int64) bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for other := range h.holds {
			if other.path == own.path && other.ticket.turn == turn {
				return (other.name == "") != (own.name == "")
			}
		}
		return false
	}
}

// leave gives up one share of a hold.
func (h *Holders) leave(shared *hold) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	shared.users--
	if shared.users > 0 {
		return nil
	}
	delete(h.holds, shared)
	return shared.ticket.Close()
}

// Release gives up the share. It does nothing the second time.
func (h *Hold) Release() error {
	h.once.Do(func() { h.err = h.holders.leave(h.hold) })
	return h.err
}

type holdKey struct{}

// WithHold returns a context with which Acquire shares a hold's slot, as long as it is
// held.
func WithHold(ctx context.Context, h *Hold) context.Context {
	return context.WithValue(ctx, holdKey{}, h.hold)
}
