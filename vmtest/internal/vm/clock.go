package vm

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// The times that a kernel accepts for its wall clock (timespec64_valid_settod of Linux): from
// 1970 until 30 years before a count of nanoseconds overflows.
var (
	firstTime = time.Unix(0, 0).UTC()
	lastTime  = time.Unix(math.MaxInt64/int64(time.Second)-30*365*24*3600, 0).UTC()
)

// CheckClock returns an error for a time that no guest's wall clock can show.
func CheckClock(at time.Time) error {
	if at.Before(firstTime) || !at.Before(lastTime) {
		return fmt.Errorf("a guest's clock cannot show %s: its kernel takes times from %s to %s",
			at.UTC().Format("2006-01-02"), firstTime.Format("2006-01-02"), lastTime.Format("2006-01-02"))
	}
	return nil
}

// clock is how far the guest's clocks are meant to be ahead of the host's, in nanoseconds.
type clock struct {
	ahead    atomic.Int64 // of the wall clock
	advanced atomic.Int64 // of the monotonic clock
}

// begin sets the wall clock of a machine that starts; zero is the host's.
func (c *clock) begin(at time.Time) {
	if !at.IsZero() {
		c.ahead.Store(int64(time.Until(at)))
	}
}

// advance notes an advance.
func (c *clock) advance(d time.Duration) {
	c.ahead.Add(int64(d))
	c.advanced.Add(int64(d))
}

// Ahead returns how far the guest's wall clock is meant to be ahead of the host's. A reboot
// keeps it. A fork begins with its Instance's.
func (m *Machine) Ahead() time.Duration { return time.Duration(m.clock.ahead.Load()) }

// ChangeClock changes the guest's wall clock, and returns what it shows then.
func (m *Machine) ChangeClock(ctx context.Context, c guest.ClockChange) (now time.Time, err error) {
	if !c.Set.IsZero() {
		if err := CheckClock(c.Set); err != nil {
			return now, err
		}
	}
	if c.Step != 0 {
		// The sum of both would overflow otherwise.
		if err := CheckClock(time.Now().Add(m.Ahead()).Add(c.Step)); err != nil {
			return now, err
		}
	}
	err = m.With(ctx, "change the clock of", func(ctx context.Context, s *link.Client) error {
		now, err = guest.ChangeClock(ctx, s, c)
		return err
	})
	if err == nil && (!c.Set.IsZero() || c.Step != 0) {
		m.clock.ahead.Store(int64(time.Until(now)))
	}
	return now, err
}
