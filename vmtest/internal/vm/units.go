package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/coreos/go-systemd/v22/dbus"

	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// WaitUnit waits until a unit's ActiveState or SubState is want, as
// systemd.Manager.WaitUnit.
func (m *Machine) WaitUnit(ctx context.Context, unit, want string) (systemd.UnitState, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	saw, err := m.Systemd.WaitUnit(ctx, unit, want)
	return saw, m.explainSystemd(ctx, err)
}

// RunUnit starts, stops, restarts or reloads a unit, as systemd.Manager.Run.
func (m *Machine) RunUnit(ctx context.Context, verb systemd.Verb, unit string) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	return m.explainSystemd(ctx, m.Systemd.Run(ctx, verb, unit))
}

// KillUnit sends a signal to all processes of a unit, as systemd.Manager.Kill.
func (m *Machine) KillUnit(ctx context.Context, unit string, signal syscall.Signal) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	return m.explainSystemd(ctx, m.Systemd.Kill(ctx, unit, int32(signal)))
}

// InspectUnit returns the state of a unit and what may explain it, as
// systemd.Manager.Inspect.
func (m *Machine) InspectUnit(ctx context.Context, unit string) (systemd.Details, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	d, err := m.Systemd.Inspect(ctx, unit)
	return d, m.explainSystemd(ctx, err)
}

// Watch calls look after each signal of systemd, as systemd.Manager.Watch.
func (m *Machine) Watch(ctx context.Context, look func(context.Context, *dbus.Conn) (string, bool, error)) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	return m.explainSystemd(ctx, m.Systemd.Watch(ctx, look))
}

// explainSystemd is Explain for an error of D-Bus, which does not show that the link was
// lost.
func (m *Machine) explainSystemd(ctx context.Context, err error) error {
	if err != nil {
		if lost := m.Session().Err(); lost != nil && !errors.Is(err, lost) {
			err = errors.Join(err, lost)
		}
	}
	return m.Explain(ctx, "lost", err)
}

// journalEnd returns the moment of the last entry in the guest's journal. Nothing in the
// journal is half-written then.
func (m *Machine) journalEnd(ctx context.Context) (systemd.Moment, error) {
	j := systemd.Journal{Run: func(ctx context.Context, args []string, stdout io.Writer) error {
		return m.Exec(ctx, link.Command{Args: args, Stdout: stdout, Stderr: io.Discard})
	}}
	end, err := j.End(ctx)
	if err != nil {
		return end, fmt.Errorf("read the end of the journal: %w", err)
	}
	return end, nil
}
