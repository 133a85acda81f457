package slots

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
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
	name  string
	path  string       // of the queue
	ahead atomic.Int64 // number of machines at the last look

	users  int     // guarded by Holders.mu
	ticket *Ticket // guarded by Holders.mu until ready is closed; nil until it is drawn

	cancel context.CancelFunc // ends the wait
	ready  chan struct{}      // closed once the wait is over
	err    error              // of the wait
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
//
// A wait that is shared goes on, at its place in the queue, when the context of one that
// shares it ends.
func (h *Holders) Acquire(ctx context.Context, r Request) (*Hold, error) {
	began := time.Now()
	shared := h.join(ctx, r)
	if err := h.wait(ctx, shared, r); err != nil {
		return nil, errors.Join(err, h.leave(shared))
	}
	return &Hold{Queued: time.Since(began), holders: h, hold: shared}, nil
}

// join returns a hold that a caller shares. If there is none it makes one, which waits for
// its turn from then on.
func (h *Holders) join(ctx context.Context, r Request) *hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	if shared := h.find(ctx, r); shared != nil {
		shared.users++
		return shared
	}
	if h.holds == nil {
		h.holds = make(map[*hold]bool)
	}
	// Without ctx, because others may join.
	waiting, cancel := context.WithCancel(context.Background())
	own := &hold{name: r.Name, path: r.Queue.Path, users: 1, cancel: cancel, ready: make(chan struct{})}
	h.holds[own] = true
	go h.queue(waiting, own, r.Queue)
	return own
}

// find returns the hold that a caller may share, or nil. The caller holds mu.
func (h *Holders) find(ctx context.Context, r Request) *hold {
	if carried, ok := ctx.Value(holdKey{}).(*hold); ok && h.holds[carried] {
		return carried
	}
	for other := range h.holds {
		if covers(other.name, r.Name) {
			return other
		}
	}
	return nil
}

// wait waits until a hold is ready or ctx ends.
func (h *Holders) wait(ctx context.Context, shared *hold, r Request) error {
	reminder := startReminder(r.Queue.Slots, &shared.ahead, r.Notice)
	defer reminder.stop()
	select {
	case <-shared.ready:
		return shared.err
	case <-ctx.Done():
		return r.Queue.waitError(int(shared.ahead.Load()), context.Cause(ctx))
	}
}

// covers reports whether the test holder, or one above it, is the test name.
func covers(holder, name string) bool {
	return holder != "" && (name == holder || strings.HasPrefix(name, holder+"/"))
}

// queue draws the ticket of a hold, waits for its turn, and then makes the hold ready. ctx
// ends when nobody shares the hold any more.
func (h *Holders) queue(ctx context.Context, own *hold, q Queue) {
	defer close(own.ready)
	ticket, err := q.draw(ctx)
	h.mu.Lock()
	own.ticket = ticket
	h.mu.Unlock()
	if err == nil {
		err = q.await(ctx, ticket, h.apartFrom(own), func(ahead int) { own.ahead.Store(int64(ahead)) })
	}
	if own.err = err; err != nil {
		h.mu.Lock()
		delete(h.holds, own) // nobody joins it any more
		h.mu.Unlock()
	}
}

// apartFrom returns a function that reports whether a turn is one for which a hold does
// not wait; see Holders.
func (h *Holders) apartFrom(own *hold) func(turn int64) bool {
	return func(turn int64) bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for other := range h.holds {
			if other.path == own.path && other.ticket != nil && other.ticket.turn == turn {
				return (other.name == "") != (own.name == "")
			}
		}
		return false
	}
}

// leave gives up one share of a hold. With the last share it ends the hold's wait and
// closes its ticket.
func (h *Holders) leave(shared *hold) error {
	h.mu.Lock()
	shared.users--
	last := shared.users == 0
	if last {
		delete(h.holds, shared)
	}
	h.mu.Unlock()
	if !last {
		return nil
	}
	shared.cancel()
	<-shared.ready
	if shared.ticket == nil {
		return nil
	}
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
