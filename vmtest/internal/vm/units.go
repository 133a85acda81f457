package vm

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"syscall"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// Units are the units of one systemd of a machine: of its PID 1, or of a user manager.
type Units struct {
	Systemd *systemd.Manager
	machine *Machine
}

// UserUnits returns the units of the systemd that manages the services of a user, which must
// run (user@.service(5)). Its methods fail if it does not run any more.
func (m *Machine) UserUnits(uid uint32) *Units {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users[uid] == nil {
		manager := systemd.NewManager(func(ctx context.Context) (net.Conn, error) { return m.dialUser(ctx, uid) })
		m.users[uid] = &Units{manager, m}
	}
	return m.users[uid]
}

// Users returns the UIDs of the users whose units were asked for.
func (m *Machine) Users() []uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.users))
}

// closeSystemd closes the connections to PID 1 and to user managers. Calls in progress return
// an error that wraps cause.
func (m *Machine) closeSystemd(cause error) {
	m.Systemd.Close(cause)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.users {
		u.Systemd.Close(cause)
	}
}

// UserUnit returns the name of the system's unit that runs the systemd of a user.
func UserUnit(uid uint32) string { return fmt.Sprintf("user@%d.service", uid) }

// dialUser connects to a user manager. That of another user accepts root.
func (m *Machine) dialUser(ctx context.Context, uid uint32) (net.Conn, error) {
	conn, err := m.Session().Dial(ctx, "unix", fmt.Sprintf("/run/user/%d/systemd/private", uid))
	if err == nil {
		return conn, nil
	}
	// A user manager that re-executes itself comes back, but one that has ended does not.
	unit := UserUnit(uid)
	if d, inspectErr := m.Systemd.Inspect(ctx, unit); inspectErr == nil && (d.ActiveState == "inactive" || d.ActiveState == "failed") {
		return nil, fmt.Errorf("%s is %s", unit, d.ActiveState)
	}
	return nil, err
}

// WaitSystemState waits until systemd has left "initializing" and "starting", and
// returns its state (systemctl(1), is-system-running).
func (u *Units) WaitSystemState(ctx context.Context) (string, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	return u.Systemd.WaitState(ctx)
}

// Conn returns a connection to systemd. The machine closes it.
func (u *Units) Conn(ctx context.Context) (*dbus.Conn, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	conn, err := u.Systemd.Conn(ctx)
	return conn, u.machine.Explain(ctx, "talk to systemd of", err)
}

// WaitUnit waits until a unit's ActiveState or SubState is want, as
// systemd.Manager.WaitUnit.
func (u *Units) WaitUnit(ctx context.Context, unit, want string) (systemd.UnitState, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	saw, err := u.Systemd.WaitUnit(ctx, unit, want)
	return saw, u.machine.Explain(ctx, "lost", err)
}

// RunUnit starts, stops, restarts or reloads a unit, as systemd.Manager.Run.
func (u *Units) RunUnit(ctx context.Context, verb systemd.Verb, unit string) error {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	return u.machine.Explain(ctx, "lost", u.Systemd.Run(ctx, verb, unit))
}

// KillUnit sends a signal to all processes of a unit, as systemd.Manager.Kill.
func (u *Units) KillUnit(ctx context.Context, unit string, signal syscall.Signal) error {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	return u.machine.Explain(ctx, "lost", u.Systemd.Kill(ctx, unit, int32(signal)))
}

// ChangeFiles enables, disables, masks or unmasks units, as systemd.Manager.ChangeFiles.
func (u *Units) ChangeFiles(ctx context.Context, verb systemd.FileVerb, units []string, runtime bool) ([]systemd.FileChange, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	changes, err := u.Systemd.ChangeFiles(ctx, verb, units, runtime)
	return changes, u.machine.Explain(ctx, "lost", err)
}

// Reload makes systemd read its unit files again.
func (u *Units) Reload(ctx context.Context) error {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	return u.machine.Explain(ctx, "lost", u.Systemd.Reload(ctx))
}

// ResetFailed makes systemd forget that a unit has failed.
func (u *Units) ResetFailed(ctx context.Context, unit string) error {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	return u.machine.Explain(ctx, "lost", u.Systemd.ResetFailed(ctx, unit))
}

// StartTransient makes a unit and starts it, as systemd.Manager.StartTransient.
func (u *Units) StartTransient(ctx context.Context, unit string, set []dbus.Property) error {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	return u.machine.Explain(ctx, "lost", u.Systemd.StartTransient(ctx, unit, set))
}

// SetProperties changes properties of a unit, as systemd.Manager.SetProperties.
func (u *Units) SetProperties(ctx context.Context, unit string, set []dbus.Property) error {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	return u.machine.Explain(ctx, "lost", u.Systemd.SetProperties(ctx, unit, set))
}

// InspectUnit returns the state of a unit and what may explain it, as
// systemd.Manager.Inspect.
func (u *Units) InspectUnit(ctx context.Context, unit string) (systemd.Details, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	d, err := u.Systemd.Inspect(ctx, unit)
	return d, u.machine.Explain(ctx, "lost", err)
}

// Properties returns all properties of a unit, as systemd.Manager.Properties.
func (u *Units) Properties(ctx context.Context, unit string) (map[string]any, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	p, err := u.Systemd.Properties(ctx, unit)
	return p, u.machine.Explain(ctx, "lost", err)
}

// Property returns a property of a unit, as systemd.Manager.Property.
func (u *Units) Property(ctx context.Context, unit, name string) (godbus.Variant, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	value, err := u.Systemd.Property(ctx, unit, name)
	return value, u.machine.Explain(ctx, "lost", err)
}

// Instances returns the instances of a template, as systemd.Manager.Instances.
func (u *Units) Instances(ctx context.Context, template string) ([]string, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	names, err := u.Systemd.Instances(ctx, template)
	return names, u.machine.Explain(ctx, "lost", err)
}

// Overview reads what systemd shows of its units, as systemd.Manager.Overview.
func (u *Units) Overview(ctx context.Context, units []string) (systemd.Overview, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	o, err := u.Systemd.Overview(ctx, units)
	return o, u.machine.Explain(ctx, "lost", err)
}

// Watch calls look after each signal of systemd, as systemd.Manager.Watch.
func (u *Units) Watch(ctx context.Context, look func(context.Context, *dbus.Conn) (string, bool, error)) error {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	return u.machine.Explain(ctx, "lost", u.Systemd.Watch(ctx, look))
}
