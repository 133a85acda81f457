package vmtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// PropertyError reports that a unit has no property of a name: no version of systemd gives
// units of its type one, or not the guest's.
type PropertyError struct {
	Unit, Property string
	Version        string // of the guest's systemd, such as "257.13-1~deb13u1", or "" after Show
}

// Error returns unit, property and version, safe to print.
func (e *PropertyError) Error() string { return tail.Printable((*systemd.PropertyError)(e).Error()) }

// Property reads the property of the given name, such as "TimeoutStopUSec", into the
// variable that value points to. Its type is that of the property in
// org.freedesktop.systemd1(5), as [github.com/godbus/dbus/v5.Store] has it: a string for s,
// a []string for as, and a []struct{Type, Address string} for a(ss). A number may be of any
// integer type that can hold it. A time span, whose name ends in USec or NSec, may be a
// time.Duration: then no limit is math.MaxInt64. As a number it is in microseconds or
// nanoseconds, and no limit is math.MaxUint64.
//
// A unit that does not exist is an [ErrNoUnit], and a property that does not exist a
// *[PropertyError].
func (u *MachineUnit) Property(ctx context.Context, name string, value any) error {
	v, err := u.machine.units().Property(ctx, u.name, name)
	if err == nil {
		err = store(name, v, value)
	}
	if err != nil {
		return fmt.Errorf("read %s of %s: %w", tail.Printable(name), u.label(), public(err))
	}
	return nil
}

func store(name string, v godbus.Variant, into any) error {
	span, ok := into.(*time.Duration)
	if !ok || span == nil {
		return systemd.Store(v, into)
	}
	var n uint64
	err := systemd.Store(v, &n)
	if err == nil {
		*span, err = systemd.SpanOf(name, n)
	}
	return err
}

// ExpectProperty fails unless a property of the unit is want now. Its type is one that
// Property reads the property into; numbers may be of any integer type. If it is not want, the
// error is an *[UnequalError].
func (u *MachineUnit) ExpectProperty(ctx context.Context, name string, want any) error {
	v, err := u.machine.units().Property(ctx, u.name, name)
	same := false
	if err == nil {
		var number any
		if number, err = asNumber(name, want); err == nil {
			same, err = systemd.Equal(v, number)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("compare %s of %s: %w", tail.Printable(name), u.label(), public(err))
	case !same:
		return &UnequalError{Unit: u.name, Property: name, Want: want, Got: like(name, v.Value(), want)}
	}
	return nil
}

// UnequalError reports that a property of a unit is not what was expected.
type UnequalError struct {
	Unit, Property string
	Want           any
	Got            any // of the D-Bus type as godbus has it, or a time.Duration if Want is one
}

// Error returns, for example, "MaxConnections of demo.socket is 64, want 128", safe to print.
func (e *UnequalError) Error() string {
	return tail.Printable(fmt.Sprintf("%s of %s is %v, want %v", e.Property, e.Unit, e.Got, e.Want))
}

// asNumber returns want as the number that systemd has for it, if it is a time span.
func asNumber(name string, want any) (any, error) {
	if span, ok := want.(time.Duration); ok {
		return systemd.NumberOf(name, span)
	}
	return want, nil
}

// like returns a value of a property as a time span, if want is one.
func like(name string, value, want any) any {
	n, number := value.(uint64)
	if _, ok := want.(time.Duration); !ok || !number {
		return value
	}
	if span, err := systemd.SpanOf(name, n); err == nil {
		return span
	}
	return value
}

// Property reads a property of the unit into the variable that value points to, as
// MachineUnit.Property.
func (u *Unit) Property(t testing.TB, name string, value any) {
	t.Helper()
	u.guest.do(t, func(ctx context.Context) error { return u.unit.Property(ctx, name, value) })
}

// ExpectProperty fails the test unless a property of the unit is want now, as
// MachineUnit.ExpectProperty.
func (u *Unit) ExpectProperty(t testing.TB, name string, want any) {
	t.Helper()
	u.guest.do(t, func(ctx context.Context) error { return u.unit.ExpectProperty(ctx, name, want) })
}
