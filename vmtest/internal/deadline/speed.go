package deadline

import (
	"sync"
	"time"
)

// The deadlines of this package are written for a host that does workSteps in
// workTime, as the one on which they were chosen does with a guest on each of its
// cores.
const (
	workSteps = 50_000_000
	workTime  = 150 * time.Millisecond

	// mostSlowness bounds what a deadline is stretched by: beyond it nobody waits.
	mostSlowness = 10

	// measureAgain is how long a measurement holds, so that deadlines that strike
	// together do not measure each other.
	measureAgain = 5 * time.Second
)

// speedometer measures how much slower this host is than deadlines are made for.
type speedometer struct {
	work func(most time.Duration) time.Duration // how long the work took

	mu       sync.Mutex
	measured time.Time
	slowness float64
}

// hostSpeed is this host's. It measures only when a deadline is about to strike: what
// is in time pays nothing, and what counts is how busy the host is then.
var hostSpeed = speedometer{work: timeWork}

// slow returns a factor between 1 and mostSlowness.
func (s *speedometer) slow() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.measured.IsZero() || time.Since(s.measured) > measureAgain {
		took := s.work(mostSlowness * workTime)
		s.slowness = min(max(float64(took)/float64(workTime), 1), mostSlowness)
		s.measured = time.Now()
	}
	return s.slowness
}

// timeWork does the work in one thread, in wall time, which has the load of the host
// in it. What the work does is not unlike what an emulator does: integers, each
// depending on the one before, and a table in the cache. It gives up after most.
func timeWork(most time.Duration) time.Duration {
	const part = workSteps / 100
	var table [1 << 10]uint64
	began := time.Now()
	x := uint64(1)
	for done := 0; done < workSteps && time.Since(began) < most; done += part {
		for range part { // Marsaglia's xorshift
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			table[x%uint64(len(table))] += x
		}
	}
	return time.Since(began)
}
