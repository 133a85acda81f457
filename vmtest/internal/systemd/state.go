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
	_, conn, err := m.conn(ctx)
	if err != nil {
		return "", err
	}
	signals := watchSignals(conn)
	defer signals.close()
	manager := conn.Object(managerName, managerPath)
	// The private socket gets every signal anyway. Subscribe is for a version that may
	// change that.
	if err := manager.CallWithContext(ctx, managerInterface+".Subscribe", 0).Err; err != nil {
		return "", fmt.Errorf("subscribe to systemd: %w", err)
	}
	for {
		var state string
		err := manager.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, managerInterface, "SystemState").Store(&state)
		if err != nil {
			return "", fmt.Errorf("read SystemState: %w", err)
		}
		if state != "initializing" && state != "starting" {
			return state, nil
		}
		if err := signals.next(ctx, func(s *godbus.Signal) bool {
			return s.Name == managerInterface+".StartupFinished"
		}); err != nil {
			return "", fmt.Errorf("state %s: %w", state, err)
		}
	}
}

// FailedUnits returns the names of the units that have failed.
func (m *Manager) FailedUnits(ctx context.Context) ([]string, error) {
	conn, err := m.Conn(ctx)
	if err != nil {
		return nil, err
	}
	units, err := conn.ListUnitsFilteredContext(ctx, []string{"failed"})
	if err != nil {
		return nil, fmt.Errorf("list failed units: %w", err)
	}
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	return names, nil
}
