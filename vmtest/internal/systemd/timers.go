package systemd

import (
	"context"
	"fmt"
	"math"
	"time"
)

// Elapse is when a timer unit elapses by the wall clock, as OnCalendar= asks
// (systemd.timer(5)). Its zero value is never.
type Elapse struct {
	Timer string    `json:"timer,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// NextElapse returns what elapses first of the active timers. Timers that count from a
// boot or from another unit's start are not in it.
func (m *Manager) NextElapse(ctx context.Context) (next Elapse, err error) {
	err = m.follow(ctx, func(c *connection, _ *signals) error {
		next, err = c.nextElapse(ctx)
		return err
	})
	return next, err
}

func (c *connection) nextElapse(ctx context.Context) (Elapse, error) {
	units, err := c.list(ctx, []string{"active"}, "*.timer")
	if err != nil {
		return Elapse{}, fmt.Errorf("list timers: %w", err)
	}
	var next Elapse
	for _, u := range units {
		p, err := c.get(ctx, u.Name, typeInterface(u.Name), "NextElapseUSecRealtime")
		if err != nil {
			return Elapse{}, err
		}
		usec, _ := p.Value().(uint64)
		if usec == 0 || usec > math.MaxInt64 { // never, which systemd writes as the highest number
			continue
		}
		if at := time.UnixMicro(int64(usec)).UTC(); next.At.IsZero() || at.Before(next.At) {
			next = Elapse{u.Name, at}
		}
	}
	return next, nil
}
