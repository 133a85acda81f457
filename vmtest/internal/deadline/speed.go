package deadline

import (
	"sync"
	"time"
)

// Limits are chosen for a host that does workSteps in workTime, as the one they were
// chosen on does with a guest on each of its cores.
const (
	workSteps = 50_000_000
	workTime  = 150 * time.Millisecond

	// mostSlowness bounds what a limit is stretched by. Nobody waits longer.
	mostSlowness = 10

	// measureAgain is how long a measurement is valid, so that limits that are over at
	// the same time do not measure each other.
	measureAgain = 5 * time.Second
)

// speedometer measures how much slower this host is than limits are chosen for.
type speedometer struct {
	work func(most time.Duration) time.Duration // returns how long the work took

	mu       sync.Mutex
	measured time.Time
	slowness float64
}

// hostSpeed measures this host when a limit is over, so that what is in time pays
// nothing. The load of the host at that moment counts.
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

// timeWork returns how long the work takes in one thread, in wall time, which the load of
// the host adds to. The work is like an emulator's: integer operations that each depend on
// the one before, and a table in the cache. It gives up after most.
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
