package systemd

import (
	"context"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"example.org/systemd-vmtest/internal/tail"
)

// Watch calls look at first and after each signal of systemd, until look reports that it
// is done. look returns what it saw, for the error if ctx ends first. Watch calls look with
// a new connection when systemd has closed the old one.
func (m *Manager) Watch(ctx context.Context, look func(context.Context, *dbus.Conn) (saw string, done bool, err error)) error {
	last := ""
	err := m.follow(ctx, func(c *connection, s *signals) error {
		view, err := c.view(ctx)
		if err != nil {
			return err
		}
		for {
			saw, done, err := look(ctx, view)
			if saw != "" {
				last = saw
			}
			if done || err != nil {
				return err
			}
			if err := s.next(ctx, anySignal); err != nil {
				return err
			}
		}
	})
	switch {
	case err == nil || ctx.Err() == nil:
		return err
	case last == "":
		return fmt.Errorf("%w; nothing was seen", err)
	}
	return fmt.Errorf("%w; it is %s", err, tail.Printable(last))
}

func anySignal(*godbus.Signal) bool { return true }
