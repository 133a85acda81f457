package vm

import (
	"context"
	"syscall"

	"github.com/coreos/go-systemd/v22/dbus"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// Conn returns a connection to systemd. The machine closes it.
func (m *Machine) Conn(ctx context.Context) (*dbus.Conn, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	conn, err := m.Systemd.Conn(ctx)
	return conn, m.Explain(ctx, "talk to systemd of", err)
}

// WaitUnit waits until a unit's ActiveState or SubState is want, as
// systemd.Manager.WaitUnit.
func (m *Machine) WaitUnit(ctx context.Context, unit, want string) (systemd.UnitState, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	saw, err := m.Systemd.WaitUnit(ctx, unit, want)
	return saw, m.Explain(ctx, "lost", err)
}

// RunUnit starts, stops, restarts or reloads a unit, as systemd.Manager.Run.
func (m *Machine) RunUnit(ctx context.Context, verb systemd.Verb, unit string) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	return m.Explain(ctx, "lost", m.Systemd.Run(ctx, verb, unit))
}

// KillUnit sends a signal to all processes of a unit, as systemd.Manager.Kill.
func (m *Machine) KillUnit(ctx context.Context, unit string, signal syscall.Signal) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	return m.Explain(ctx, "lost", m.Systemd.Kill(ctx, unit, int32(signal)))
}

// InspectUnit returns the state of a unit and what may explain it, as
// systemd.Manager.Inspect.
func (m *Machine) InspectUnit(ctx context.Context, unit string) (systemd.Details, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	d, err := m.Systemd.Inspect(ctx, unit)
	return d, m.Explain(ctx, "lost", err)
}

// Overview reads what systemd shows of its units, as systemd.Manager.Overview.
func (m *Machine) Overview(ctx context.Context, units []string) (systemd.Overview, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	o, err := m.Systemd.Overview(ctx, units)
	return o, m.Explain(ctx, "lost", err)
}

// Watch calls look after each signal of systemd, as systemd.Manager.Watch.
func (m *Machine) Watch(ctx context.Context, look func(context.Context, *dbus.Conn) (string, bool, error)) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	return m.Explain(ctx, "lost", m.Systemd.Watch(ctx, look))
}
