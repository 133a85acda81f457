package slots

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// acquire returns a hold that is released when the test ends.
func acquire(t *testing.T, h *Holders, q Queue, name string) *Hold {
	hold, err := h.Acquire(t.Context(), Request{Queue: q, Name: name})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, hold.Release()) })
	return hold
}

// assertWaits checks that a request is not granted while things stay as they are.
func assertWaits(t *testing.T, h *Holders, q Queue, name string) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	had := errors.New("it had to wait")
	h.mu.Lock()
	shared := h.find(ctx, Request{Queue: q, Name: name})
	h.mu.Unlock()
	assert.Nil(t, shared, "%q shares a slot", name)
	ticket, err := q.draw(ctx)
	require.NoError(t, err)
	own := &hold{name: name, path: q.Path, ticket: ticket}
	err = q.await(ctx, ticket, h.apartFrom(own), func(int) { cancel(had) })
	assert.ErrorIs(t, err, had, "%q did not wait", name)
	assert.NoError(t, ticket.Close())
}

// start joins a slot, and waits for it in a goroutine. It returns when the ticket is
// drawn, so that those who start later are behind.
func start(ctx context.Context, t *testing.T, h *Holders, q Queue, name string) <-chan error {
	r := Request{Queue: q, Name: name}
	shared := h.join(ctx, r)
	done := make(chan error, 1)
	go func() {
		err := h.wait(ctx, shared, r)
		if err != nil {
			err = errors.Join(err, h.leave(shared))
		}
		done <- err
	}()
	require.Eventually(t, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return shared.ticket != nil
	}, 10*time.Second, time.Millisecond)
	return done
}

func TestATestHoldsOneSlot(t *testing.T) {
	h, q := &Holders{}, Queue{Path: queuePath(t), Slots: 1}
	first := acquire(t, h, q, "TestA")
	again := acquire(t, h, q, "TestA")
	below := acquire(t, h, q, "TestA/sub/sub")
	assert.Equal(t, 1, q.taken(t))
	require.NoError(t, first.Release())
	require.NoError(t, first.Release(), "twice")
	const given = "the slot of a subtest that still runs was given away"
	assert.Equal(t, 1, q.taken(t), given)
	require.NoError(t, again.Release())
	assert.Equal(t, 1, q.taken(t), given)
	require.NoError(t, below.Release())
	require.Zero(t, q.taken(t), "slots that are taken when all that shared one have released it")
	acquire(t, h, q, "TestA")
}

func TestOthersDoNotShare(t *testing.T) {
	h, q := &Holders{}, Queue{Path: queuePath(t), Slots: 1}
	acquire(t, h, q, "TestA/x")
	for _, name := range []string{"TestA/y", "TestA", "TestA/xy", "TestB", "TestA/"} {
		assertWaits(t, h, q, name)
	}
}

// TestGoroutinesOfOneTestShareOneWait starts many machines at once in one test, with
// one slot. None is given up before all have it.
func TestGoroutinesOfOneTestShareOneWait(t *testing.T) {
	h, q := &Holders{}, Queue{Path: queuePath(t), Slots: 1}
	other, err := q.Acquire(t.Context(), silent)
	require.NoError(t, err)
	var waits []<-chan error
	for range 4 {
		waits = append(waits, start(t.Context(), t, h, q, "TestA"), start(t.Context(), t, h, q, "TestA/sub"))
	}
	assert.Equal(t, 2, q.taken(t), "the starters share one ticket")
	require.NoError(t, other.Close())
	for _, wait := range waits {
		assert.NoError(t, <-wait)
	}
	assert.Equal(t, 1, q.taken(t))
}

// TestOneGivesUpAndTheOtherGoesOn has two goroutines of one test, and ends the wait of the
// first or of the second. The other keeps its place before a test that came later.
func TestOneGivesUpAndTheOtherGoesOn(t *testing.T) {
	for _, sharer := range []bool{false, true} {
		h, q := &Holders{}, Queue{Path: queuePath(t), Slots: 1}
		other, err := q.Acquire(t.Context(), silent)
		require.NoError(t, err)
		mortal, cancel := context.WithCancel(t.Context())
		first, second := mortal, t.Context()
		if sharer {
			first, second = second, first
		}
		gives, goes := start(first, t, h, q, "TestA"), start(second, t, h, q, "TestA")
		if sharer {
			gives, goes = goes, gives
		}
		late, giveUp := context.WithCancel(t.Context())
		behind := start(late, t, h, q, "TestB")
		cancel()
		assert.ErrorIs(t, <-gives, context.Canceled)
		require.NoError(t, other.Close())
		assert.NoError(t, <-goes)
		assert.Empty(t, behind)
		giveUp()
		assert.ErrorIs(t, <-behind, context.Canceled)
		assert.Equal(t, 1, q.taken(t))
	}
}

// TestAllGiveUp ends the wait of all who share a slot. None is left in line.
func TestAllGiveUp(t *testing.T) {
	h, q := &Holders{}, Queue{Path: queuePath(t), Slots: 1}
	other, err := q.Acquire(t.Context(), silent)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	first, second := start(ctx, t, h, q, "TestA"), start(ctx, t, h, q, "TestA/sub")
	cancel()
	assert.ErrorIs(t, <-first, context.Canceled)
	assert.ErrorIs(t, <-second, context.Canceled)
	assert.Equal(t, 1, q.taken(t))
	require.NoError(t, other.Close())
	acquire(t, h, q, "TestA")
}

// TestNoWaitForItself has a test that starts a machine by its context alone, which does
// not name it, after one that is started for the test and before.
func TestNoWaitForItself(t *testing.T) {
	h, q := &Holders{}, Queue{Path: queuePath(t), Slots: 1}
	test := acquire(t, h, q, "TestA")
	machine := acquire(t, h, q, "")
	require.NoError(t, test.Release())
	acquire(t, h, q, "TestA")
	assertWaits(t, h, q, "TestB")
	assertWaits(t, h, q, "")
	require.NoError(t, machine.Release())
	acquire(t, h, q, "")
}

func TestOtherProcessesAreWaitedFor(t *testing.T) {
	h, q := &Holders{}, Queue{Path: queuePath(t), Slots: 1}
	other, err := q.Acquire(t.Context(), silent)
	require.NoError(t, err)
	assertWaits(t, h, q, "")
	assertWaits(t, h, q, "TestA")
	require.NoError(t, other.Close())
}

// TestWaitingTestIsNotWaitedFor has tests that wait for other processes, and a machine
// that one of them starts by its context meanwhile.
func TestWaitingTestIsNotWaitedFor(t *testing.T) {
	h, q := &Holders{}, Queue{Path: queuePath(t), Slots: 2}
	var others [2]*Ticket
	for i := range others {
		var err error
		others[i], err = q.Acquire(t.Context(), silent)
		require.NoError(t, err)
	}
	testA := start(t.Context(), t, h, q, "TestA")
	testB := start(t.Context(), t, h, q, "TestB")
	machine := start(t.Context(), t, h, q, "")
	require.NoError(t, others[0].Close()) // one for a test, and one for the machine
	assert.NoError(t, <-testA)
	assert.NoError(t, <-machine)
	assert.Empty(t, testB)
	require.NoError(t, others[1].Close())
	assert.NoError(t, <-testB)
}

func TestContextCarriesTheHold(t *testing.T) {
	h, q := &Holders{}, Queue{Path: queuePath(t), Slots: 1}
	machine := acquire(t, h, q, "")
	ctx := WithHold(t.Context(), machine)
	inner, err := h.Acquire(ctx, Request{Queue: q})
	require.NoError(t, err)
	assert.Equal(t, 1, q.taken(t))
	require.NoError(t, machine.Release())
	assert.Equal(t, 1, q.taken(t))
	require.NoError(t, inner.Release())
	assert.Zero(t, q.taken(t))
	later, err := h.Acquire(ctx, Request{Queue: q})
	require.NoError(t, err, "the hold in the context is released")
	assert.Equal(t, 1, q.taken(t))
	require.NoError(t, later.Release())
}

func TestQueuedIsTheWait(t *testing.T) {
	h, q := &Holders{}, Queue{Path: queuePath(t), Slots: 2}
	assert.Less(t, acquire(t, h, q, "TestA").Queued, time.Minute)
	const wait = 20 * time.Millisecond
	q.Fits = func() bool { time.Sleep(wait); return true }
	assert.GreaterOrEqual(t, acquire(t, h, q, "TestB").Queued, wait)
}

func TestQueueThatCannotBeOpened(t *testing.T) {
	h, q := &Holders{}, Queue{Path: "/dev/null/queue", Slots: 1}
	_, err := h.Acquire(t.Context(), Request{Queue: q, Name: "TestA"})
	assert.ErrorContains(t, err, "open queue for machines: ")
	q.Path = queuePath(t)
	acquire(t, h, q, "TestA")
}
