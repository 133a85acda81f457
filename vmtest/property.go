package vmtest

import (
	"context"
	"fmt"
	"testing"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// PropertyError reports that a unit has no property of a name: no version of systemd gives
// units of its type one, or not the guest's.
type PropertyError struct {
	Unit, Property string
	Version        string // of the guest's systemd, such as "257.13-1~deb13u1", or "" after Show
}

func (e *PropertyError) Error() string { return tail.Printable((*systemd.PropertyError)(e).Error()) }

// Property reads the property of the given name, such as "TimeoutStopUSec", into the
// variable that value points to. Its type is that of the property in
// org.freedesktop.systemd1(5), as [github.com/godbus/dbus/v5.Store] has it: a string for s,
// a []string for as, and a []struct{Type, Address string} for a(ss). A number may be of any
// integer type that can hold it; times are in microseconds, and what has no limit is
// math.MaxUint64.
//
// A unit that does not exist is an [ErrNoUnit], and a property that does not exist a
// *[PropertyError].
func (u *MachineUnit) Property(ctx context.Context, name string, value any) error {
	v, err := u.machine.units().Property(ctx, u.name, name)
	if err == nil {
		err = systemd.Store(v, value)
	}
	if err != nil {
		return fmt.Errorf("read %s of %s: %w", tail.Printable(name), u.label(), public(err))
	}
	return nil
}

// Property reads a property of the unit into the variable that value points to, as
// MachineUnit.Property.
func (u *Unit) Property(t testing.TB, name string, value any) {
	t.Helper()
	u.guest.do(t, func(ctx context.Context) error { return u.unit.Property(ctx, name, value) })
}
