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
	ready   [][]byte  // frames that are due, before those of queue
	queue   queue
	size    int // of both
	next    int // number of the next frame
	closed  bool
	timer   *time.Timer

	taken bool     // a batch is being delivered
	rest  [][]byte // what is left of the last batch, maybe from within a frame

	deliver func(packets [][]byte) // nil if take is called instead
	running bool                   // a goroutine delivers
}

func newCable(deliver func([][]byte)) *cable {
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
	c.ready, c.queue, c.size, c.free = nil, nil, 0, time.Time{}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.changed.Signal()
}

// set changes the faults. Frames on their way arrive as they would have.
func (c *cable) set(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults, c.free = f, time.Time{}
}

// pass takes frames to deliver, at once if nothing is wrong with the cable.
func (c *cable) pass(packets [][]byte) {
	c.mu.Lock()
	if c.faults == (Faults{}) && !c.waitingLocked() && !c.running {
		c.mu.Unlock()
		c.deliver(packets)
		return
	}
	for _, packet := range packets {
		c.putLocked(packet)
	}
	if c.running {
		c.changed.Signal() // a frame may be due before those for which run waits
	} else if c.waitingLocked() && !c.closed {
		c.running = true
		go c.run()
	}
	c.mu.Unlock()
}

// run delivers until nothing waits.
func (c *cable) run() {
	for {
		batch, ok := c.take()
		if !ok {
			return
		}
		c.deliver(batch)
		c.delivered(nil)
	}
}

// waitingLocked reports whether anything is still to be delivered.
func (c *cable) waitingLocked() bool { return len(c.rest)+len(c.ready)+len(c.queue) > 0 }

// put adds a frame. It does not wait. The caller then calls flush.
func (c *cable) put(packet []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.putLocked(packet)
}

// flush delivers by now what is due, or wakes take. now returns what it cannot deliver without
// waiting.
func (c *cable) flush(now func(batch [][]byte) (rest [][]byte)) {
	c.mu.Lock()
	if c.taken || c.closed { // then another goroutine goes on
		c.mu.Unlock()
		return
	}
	batch := c.dueLocked()
	c.mu.Unlock()
	if len(batch) > 0 {
		batch = now(batch)
	}
	c.delivered(batch)
}

// delivered ends the delivery of a batch except for rest, and wakes take if there is more.
func (c *cable) delivered(rest [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken, c.rest = false, rest
	if c.waitingLocked() {
		c.changed.Signal()
	}
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
	c.size += len(packet) + frameCost
	if due.IsZero() {
		c.ready = append(c.ready, packet)
		return
	}
	heap.Push(&c.queue, queued{due, c.next, packet})
	c.next++
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

// take waits for frames that are due, and returns them in the order of their times. The caller
// then calls delivered. ok is false once the cable is closed. run also ends if nothing waits.
func (c *cable) take() (batch [][]byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.closed || c.running && !c.waitingLocked() {
			c.running = false
			return nil, false
		}
		if !c.taken {
			if batch = c.dueLocked(); len(batch) > 0 {
				return batch, true
			}
			c.taken = false
			if len(c.queue) > 0 {
				c.wakeAt(c.queue[0].due)
			}
		}
		c.changed.Wait()
	}
}

// dueLocked returns a batch of frames that are due, which are then being delivered.
func (c *cable) dueLocked() (batch [][]byte) {
	c.taken = true
	if len(c.rest) > 0 {
		batch, c.rest = c.rest, nil
		return batch
	}
	size := 0
	for at, packet := range c.ready {
		if size >= maxBatch {
			break
		}
		c.ready[at] = nil
		size += len(packet) + frameCost
		batch = append(batch, packet)
	}
	if c.ready = c.ready[len(batch):]; len(c.ready) == 0 {
		c.ready = nil
	}
	for len(c.queue) > 0 && size < maxBatch && !c.queue[0].due.After(time.Now()) {
		q := heap.Pop(&c.queue).(queued)
		size += len(q.packet) + frameCost
		batch = append(batch, q.packet)
	}
	c.size -= size
	return batch
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
	c.ready, c.queue, c.size = nil, nil, 0
	if c.timer != nil {
		c.timer.Stop()
	}
	c.changed.Broadcast()
}
