package slots

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func silent(int) {}

func queuePath(t *testing.T) string { return filepath.Join(t.TempDir(), "directory", "queue") }

// taken counts the tickets that are held.
func (q Queue) taken(t *testing.T) int {
	f, err := os.Open(q.Path)
	require.NoError(t, err)
	defer f.Close()
	n, err := countLocks(f, firstTurn, lastTurn, nil)
	require.NoError(t, err)
	return n
}

func TestSlotsAreBounded(t *testing.T) {
	const all, slots = 12, 2
	q := Queue{Path: queuePath(t), Slots: slots}
	held, waits, release := make(chan struct{}, all), make(chan struct{}, all), make(chan struct{})
	var done sync.WaitGroup
	for range all {
		done.Go(func() {
			var once sync.Once
			ticket, err := q.Acquire(t.Context(), func(int) { once.Do(func() { waits <- struct{}{} }) })
			if !assert.NoError(t, err) {
				return
			}
			held <- struct{}{}
			<-release
			assert.NoError(t, ticket.Close())
		})
	}
	for range slots {
		<-held
	}
	for range all - slots { // all others have been told to wait
		select {
		case <-waits:
		case <-held:
			assert.Fail(t, "the bound is broken", "more than %d hold a slot", slots)
		}
	}
	assert.Empty(t, held, "more than %d hold a slot", slots)
	close(release)
	done.Wait()
	assert.Zero(t, q.taken(t), "tickets left behind")
}

func TestFirstComeFirstServed(t *testing.T) {
	q := Queue{Path: queuePath(t), Slots: 1}
	first, err := q.Acquire(t.Context(), silent)
	require.NoError(t, err)
	order := make(chan int, 5)
	var wg sync.WaitGroup
	for i := range 5 {
		inLine := make(chan struct{})
		var once sync.Once
		wg.Go(func() {
			ticket, err := q.Acquire(t.Context(), func(int) { once.Do(func() { close(inLine) }) })
			if assert.NoError(t, err) {
				order <- i
				assert.NoError(t, ticket.Close())
			}
		})
		select {
		case <-inLine:
		case <-order:
			assert.Fail(t, "the line is broken", "a machine was served while another one held the only slot")
		}
	}
	require.NoError(t, first.Close())
	wg.Wait()
	close(order)
	want := 0
	for got := range order {
		assert.Equal(t, want, got)
		want++
	}
}

// TestTurnThatIsFreeAgain has a machine come when the first turn is free again and another
// machine waits.
func TestTurnThatIsFreeAgain(t *testing.T) {
	q := Queue{Path: queuePath(t), Slots: 1}
	first, err := q.draw(t.Context())
	require.NoError(t, err)
	second, err := q.draw(t.Context())
	require.NoError(t, err)
	defer second.Close()
	require.NoError(t, first.Close())
	third, err := q.draw(t.Context())
	require.NoError(t, err)
	defer third.Close()
	assert.Greater(t, third.turn, second.turn, "a machine that came later is before one that waits")
}

// TestWaitingIsQuiet checks that those who wait do not wake each other.
func TestWaitingIsQuiet(t *testing.T) {
	q := Queue{Path: queuePath(t), Slots: 1}
	began := time.Now()
	first, err := q.Acquire(t.Context(), silent)
	require.NoError(t, err)
	var looks atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		inLine := make(chan struct{})
		var once sync.Once
		wg.Go(func() {
			ticket, err := q.Acquire(t.Context(), func(int) {
				looks.Add(1)
				once.Do(func() { close(inLine) })
			})
			if assert.NoError(t, err) {
				assert.NoError(t, ticket.Close())
			}
		})
		<-inLine
	}
	require.NoError(t, first.Close())
	wg.Wait()
	again := int32(time.Since(began) / lookAgain)
	assert.LessOrEqual(t, looks.Load(), 4*(4+3+again), "each waiter looks once for each ticket drawn or given back")
}

func TestContextEndsTheWait(t *testing.T) {
	q := Queue{Path: queuePath(t), Slots: 1}
	first, err := q.Acquire(t.Context(), silent)
	require.NoError(t, err)
	defer first.Close()
	ctx, cancel := context.WithCancel(t.Context())
	_, err = q.Acquire(ctx, func(before int) {
		assert.Equal(t, 1, before)
		cancel()
	})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 1, q.taken(t), "who gave up is out of the line")
}

func TestNoRoomWaitsUnlessAlone(t *testing.T) {
	q := Queue{Path: queuePath(t), Slots: 4, Fits: func() bool { return false }}
	alone, err := q.Acquire(t.Context(), silent)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = q.Acquire(ctx, func(int) { cancel() })
	assert.ErrorIs(t, err, context.Canceled)
	require.NoError(t, alone.Close())
}

// TestWaitNeedsNoEvent gives the slot back, or the memory, without a close of the file. A
// close can be too early for a look at the locks; see lookAgain.
func TestWaitNeedsNoEvent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	q := Queue{Path: queuePath(t), Slots: 1}
	first, err := q.Acquire(ctx, silent)
	require.NoError(t, err)
	defer first.Close()
	second, err := q.Acquire(ctx, func(int) { assert.NoError(t, unlockByte(first.file, first.turn)) })
	require.NoError(t, err)
	defer second.Close()

	var room atomic.Bool
	q.Slots, q.Fits = 2, room.Load
	third, err := q.Acquire(ctx, func(int) { room.Store(true) })
	require.NoError(t, err)
	require.NoError(t, third.Close())
}

// TestContextEndsTheDraw has a process that stops while it draws a ticket.
func TestContextEndsTheDraw(t *testing.T) {
	q := Queue{Path: queuePath(t), Slots: 1}
	ticket, err := q.Acquire(t.Context(), silent)
	require.NoError(t, err)
	defer ticket.Close()
	require.NoError(t, lockByte(ticket.file, drawByte))

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = q.Acquire(ctx, silent)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	h := &Holders{}
	_, err = h.Acquire(ctx, Request{Queue: q, Name: "TestA"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, unlockByte(ticket.file, drawByte))
	require.NoError(t, ticket.Close())
	acquire(t, h, q, "TestA")
}

// TestDeadProcessFreesItsSlot kills a real process that holds the only slot while
// this one waits for it.
func TestDeadProcessFreesItsSlot(t *testing.T) {
	if path := os.Getenv("SLOTS_TEST_HOLD"); path != "" {
		if _, err := (Queue{Path: path, Slots: 1}).Acquire(t.Context(), silent); err != nil {
			t.Fatal(err)
		}
		fmt.Println("held")
		select {}
	}
	q := Queue{Path: queuePath(t), Slots: 1}
	holder := exec.Command(os.Args[0], "-test.run=^TestDeadProcessFreesItsSlot$")
	holder.Env = append(os.Environ(), "SLOTS_TEST_HOLD="+q.Path)
	out, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)

	var once sync.Once
	ticket, err := q.Acquire(t.Context(), func(before int) {
		assert.Equal(t, 1, before)
		once.Do(func() { assert.NoError(t, holder.Process.Kill()) })
	})
	require.NoError(t, err)
	assert.Error(t, holder.Wait(), "the holder was killed")
	require.NoError(t, ticket.Close())
}
