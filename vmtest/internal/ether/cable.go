package ether

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Faults are what goes wrong with frames in one direction of a cable. The zero value is a
// cable without faults.
type Faults struct {
	Cut       bool          // no frame arrives
	Delay     time.Duration // is added to the time at which each frame arrives
	Loss      float64       // the probability that a frame does not arrive, from 0 to 1
	Reorder   float64       // the probability that it arrives 20 ms late, after others
	Bandwidth int64         // bits per second; 0 is no limit
}

// reorderBy is how much later a frame arrives that others overtake.
const reorderBy = 20 * time.Millisecond

// maxQueued bounds what waits in a cable, in bytes. Frames that find no room are dropped, as
// in any switch.
const maxQueued = 4 << 20

// maxBatch bounds what one write to a station takes, in bytes.
const maxBatch = 128 << 10

// cable is one direction of a cable: a queue of frames, some of them not due yet.
type cable struct {
	lost, dropped atomic.Int64

	mu      sync.Mutex
	changed *sync.Cond
	faults  Faults
	random  *rand.Rand
	late    bool      // the next frame is to be late
	free    time.Time // when the line is free again, with a Bandwidth
	queue   queue
	size    int
	next    int // number of the next frame
	closed  bool
	timer   *time.Timer

	deliver func(packet []byte) // nil if take is called instead
	running bool                // a goroutine delivers
}

func newCable(deliver func([]byte)) *cable {
	c := &cable{deliver: deliver}
	c.changed = sync.NewCond(&c.mu)
	c.reset(0)
	return c
}

// reset takes away faults and frames on their way.
func (c *cable) reset(seed uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults, c.random = Faults{}, rand.New(rand.NewPCG(seed, 0))
	c.queue, c.size, c.free = nil, 0, time.Time{}
	c.changed.Signal()
}

// set changes the faults. Frames on their way arrive as they would have.
func (c *cable) set(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults, c.free = f, time.Time{}
}

// pass takes a frame to deliver, at once if nothing is wrong with the cable.
func (c *cable) pass(packet []byte) {
	c.mu.Lock()
	if c.faults == (Faults{}) && len(c.queue) == 0 && !c.running {
		c.mu.Unlock()
		c.deliver(packet)
		return
	}
	c.putLocked(packet)
	if !c.running && len(c.queue) > 0 && !c.closed {
		c.running = true
		go c.run()
	}
	c.mu.Unlock()
}

// run delivers until the queue is empty.
func (c *cable) run() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 || c.closed {
			c.running = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		batch, ok := c.take()
		if !ok {
			continue
		}
		for _, packet := range batch {
			c.deliver(packet)
		}
	}
}

// put adds a frame to the queue. It does not wait.
func (c *cable) put(packet []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.putLocked(packet)
}

func (c *cable) putLocked(packet []byte) {
	if c.closed {
		return
	}
	if c.loses() {
		c.lost.Add(1)
		return
	}
	if c.size+len(packet)+frameCost > maxQueued {
		c.dropped.Add(1)
		return
	}
	due := c.arrival(len(packet)-lengthSize, time.Now())
	heap.Push(&c.queue, queued{due, c.next, packet})
	c.next++
	c.size += len(packet) + frameCost
	c.changed.Signal()
}

// loses decides whether the next frame is lost, and makes it late for the next call of arrival if
// that is its fate. The same seed and the same number of frames give the same decisions.
func (c *cable) loses() bool {
	if c.faults == (Faults{}) {
		c.late = false
		return false
	}
	lost := c.random.Float64() < c.faults.Loss
	c.late = c.random.Float64() < c.faults.Reorder
	return lost || c.faults.Cut
}

// arrival returns when a frame is due that has room in the queue. The zero time is at once.
func (c *cable) arrival(size int, now time.Time) time.Time {
	f := c.faults
	if f == (Faults{}) {
		return time.Time{}
	}
	due := now
	if f.Bandwidth > 0 {
		if c.free.Before(now) {
			c.free = now
		}
		c.free = c.free.Add(time.Duration(float64(size) * 8 * float64(time.Second) / float64(f.Bandwidth)))
		due = c.free
	}
	due = due.Add(f.Delay)
	if c.late {
		due = due.Add(reorderBy)
	}
	return due
}

// take waits for frames that are due, and returns them in the order of their times. ok is
// false once the cable is closed.
func (c *cable) take() (batch [][]byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.closed {
			return nil, false
		}
		size := 0
		for len(c.queue) > 0 && size < maxBatch && !c.queue[0].due.After(time.Now()) {
			q := heap.Pop(&c.queue).(queued)
			size += len(q.packet) + frameCost
			batch = append(batch, q.packet)
		}
		c.size -= size
		if size > 0 {
			return batch, true
		}
		if len(c.queue) > 0 {
			c.wakeAt(c.queue[0].due)
		}
		c.changed.Wait()
	}
}

// wakeAt wakes take at a time.
func (c *cable) wakeAt(at time.Time) {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = time.AfterFunc(time.Until(at), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Signal()
	})
}

func (c *cable) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.queue, c.size = nil, 0
	if c.timer != nil {
		c.timer.Stop()
	}
	c.changed.Broadcast()
}

// queued is a frame, with its length before it, that arrives when it is due. Those due at the
// same time keep their order.
type queued struct {
	due    time.Time
	number int
	packet []byte
}

type queue []queued

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].number < q[j].number
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(queued)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = queued{}
	*q = old[:len(old)-1]
	return last
}
