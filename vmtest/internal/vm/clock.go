package vm

import (
	"context"
	"fmt"
	"math"
	"sort"
	"sync"
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

// clock is how far the guest's clocks are meant to be ahead of the host's.
type clock struct {
	advanced atomic.Int64 // the monotonic clock, in nanoseconds

	mu      sync.Mutex
	changes []clockChange // of the wall clock, oldest first
}

// clockChange is a change of a guest's wall clock, at a time of the host's.
type clockChange struct {
	at    time.Time
	ahead time.Duration // from then on
}

// begin sets the wall clock of a machine that starts; zero is the host's.
func (c *clock) begin(at time.Time) {
	if !at.IsZero() {
		c.change(time.Until(at))
	}
}

func (c *clock) change(ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = append(c.changes, clockChange{time.Now(), ahead})
}

// move changes how far the wall clock is ahead.
func (c *clock) move(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.changes); n > 0 {
		by += c.changes[n-1].ahead
	}
	c.changes = append(c.changes, clockChange{time.Now(), by})
}

// aheadAt returns how far the wall clock was ahead at a time of the host's.
func (c *clock) aheadAt(host time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.changes) == 0 {
		return 0
	}
	after := sort.Search(len(c.changes), func(i int) bool { return c.changes[i].at.After(host) })
	return c.changes[max(after-1, 0)].ahead // it began with the first
}

// Ahead returns how far the guest's wall clock is meant to be ahead of the host's. A reboot
// keeps it. A fork begins with its Instance's.
func (m *Machine) Ahead() time.Duration { return m.clock.aheadAt(time.Now()) }

// GuestTime returns what the guest's wall clock was meant to show at a time of the host's.
func (m *Machine) GuestTime(host time.Time) time.Time { return host.Add(m.clock.aheadAt(host)) }

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
		m.clock.change(time.Until(now))
	}
	return now, err
}

// SetTimeZone sets the guest's time zone.
func (m *Machine) SetTimeZone(ctx context.Context, name string) error {
	return m.With(ctx, "set the time zone of", func(ctx context.Context, s *link.Client) error {
		_, err := s.Control(ctx, guest.TimeZoneRequest, []byte(name))
		return err
	})
}
