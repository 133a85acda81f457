package vm

import (
	"sync/atomic"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// Pace begins to measure how the host runs the guest. The function that it returns
// returns the factor by which the host has slowed the guest down since then: 2 if the
// guest was without a processor for half of that time although it needed one. It is
// deadline.Limit.Pace.
func (m *Machine) Pace() func() float64 {
	before, began := m.process.Usages(), time.Now()
	return func() float64 { return pace(before, m.process.Usages(), time.Since(began)) }
}

// mostPace is the result for a guest that was never run.
const mostPace = 1000

// pace computes the factor from the usages of all threads of QEMU before and after the
// given time. The thread that waited most is the guest's slowest part.
func pace(before, after map[int]qemu.Usage, during time.Duration) float64 {
	var waited time.Duration
	for thread, usage := range after {
		waited = max(waited, usage.Waited-before[thread].Waited)
	}
	if waited <= 0 || during <= 0 {
		return 1
	}
	return min(float64(during)/float64(max(during-waited, 1)), mostPace)
}

// starting holds a machine as soon as it is started.
type starting struct{ atomic.Pointer[Machine] }

// Pace is Machine.Pace from the machine's start on.
func (s *starting) Pace() func() float64 {
	began := time.Now()
	return func() float64 {
		m := s.Load()
		if m == nil {
			return 1
		}
		return pace(nil, m.process.Usages(), time.Since(began))
	}
}
