package vmtest

import (
	"context"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
)

// StartTransient makes a unit without a file, starts it, waits until that is done as
// [MachineUnit.Start] does, and returns it. The properties are those of StartTransientUnit
// in org.freedesktop.systemd1(5), with their D-Bus types:
//
//	u, err := m.StartTransient(ctx, "sleeper.service",
//		dbus.PropExecStart([]string{"/bin/sleep", "infinity"}, false),
//		dbus.Property{Name: "MemoryMax", Value: godbus.MakeVariant(uint64(32 << 20))})
//
// where dbus is go-systemd's and godbus is github.com/godbus/dbus/v5. systemd forgets the
// unit when it has ended, unless it failed. The name of a unit that is there is an error.
func (m *Machine) StartTransient(ctx context.Context, name string, properties ...dbus.Property) (*MachineUnit, error) {
	u := m.Unit(name)
	if err := m.units().StartTransient(ctx, name, properties); err != nil {
		return nil, u.fail(ctx, &UnitError{Op: "start", ExitCode: -1}, err)
	}
	return u, nil
}

// SetProperties changes properties of the unit until the next boot, as systemctl
// set-property --runtime does. Those that can change while a unit runs are the ones of
// systemd.resource-control(5), by the names and D-Bus types of org.freedesktop.systemd1(5).
// One that the guest's systemd does not have is a *[PropertyError].
func (u *MachineUnit) SetProperties(ctx context.Context, properties ...dbus.Property) error {
	if err := u.machine.units().SetProperties(ctx, u.name, properties); err != nil {
		return u.fail(ctx, &UnitError{Op: "set properties of", ExitCode: -1}, err)
	}
	return nil
}

// ResetFailed makes systemd forget that the unit has failed, as systemctl reset-failed does.
// A unit that has not failed is left alone.
func (u *MachineUnit) ResetFailed(ctx context.Context) error {
	if err := u.machine.units().ResetFailed(ctx, u.name); err != nil {
		return u.fail(ctx, &UnitError{Op: "reset-failed", ExitCode: -1}, err)
	}
	return nil
}

// StartTransient makes a unit without a file, and starts it, as Machine.StartTransient.
func (g *Guest) StartTransient(t testing.TB, name string, properties ...dbus.Property) *Unit {
	t.Helper()
	g.do(t, func(ctx context.Context) error {
		_, err := g.Machine.StartTransient(ctx, name, properties...)
		return err
	})
	return g.Unit(name)
}

// SetProperties changes properties of the unit until the next boot, as
// MachineUnit.SetProperties.
func (u *Unit) SetProperties(t testing.TB, properties ...dbus.Property) {
	t.Helper()
	u.guest.do(t, func(ctx context.Context) error { return u.unit.SetProperties(ctx, properties...) })
}

// ResetFailed makes systemd forget that the unit has failed, as MachineUnit.ResetFailed.
func (u *Unit) ResetFailed(t testing.TB) {
	t.Helper()
	u.guest.do(t, u.unit.ResetFailed)
}
