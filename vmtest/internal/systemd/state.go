package systemd

import (
	"context"
	"fmt"

	godbus "github.com/godbus/dbus/v5"
)

// WaitState waits until systemd has left "initializing" and "starting", and returns its
// state (systemctl(1), is-system-running).
//
// systemd announces no change of SystemState. The signal StartupFinished comes at the
// right moment (org.freedesktop.systemd1(5)).
func (m *Manager) WaitState(ctx context.Context) (string, error) {
	state := ""
	err := m.follow(ctx, func(c *connection, s *signals) error {
		// The private socket gets every signal anyway. Subscribe is for a version that
		// may change that.
		if err := c.call(ctx, "Subscribe", nil); err != nil {
			return fmt.Errorf("subscribe to systemd: %w", err)
		}
		for {
			manager := c.raw.Object(managerName, managerPath)
			err := manager.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, managerInterface, "SystemState").Store(&state)
			if err != nil {
				return fmt.Errorf("read SystemState: %w", c.ended(err))
			}
			if state != "initializing" && state != "starting" {
				return nil
			}
			if err := s.next(ctx, startupFinished); err != nil {
				return fmt.Errorf("state %s: %w", state, err)
			}
		}
	})
	if err != nil {
		return "", err
	}
	return state, nil
}

func startupFinished(s *godbus.Signal) bool {
	return s.Name == managerInterface+".StartupFinished"
}

// FailedUnits returns the names of the units that have failed.
func (m *Manager) FailedUnits(ctx context.Context) ([]string, error) {
	var names []string
	err := m.follow(ctx, func(c *connection, _ *signals) error {
		units, err := c.failed(ctx)
		names = nil
		for _, u := range units {
			names = append(names, u.Name)
		}
		return err
	})
	return names, err
}
