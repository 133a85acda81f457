package systemd

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	godbus "github.com/godbus/dbus/v5"
)

// WaitProperty waits until a property of a unit is want, as equal has it. It looks again
// after each signal that is about the unit, and at a property that systemd does not announce
// after silentPause. It fails at once if the unit has no such property, and with an
// ErrStateUnreachable if nothing can change it any more. It returns the value that it saw
// last, or nil.
func (m *Manager) WaitProperty(ctx context.Context, unit, name string, want any) (saw any, err error) {
	if err := CheckUnitName(unit); err != nil {
		return nil, err
	}
	w := &lookWait{unit: unit, silent: silent.MatchString(name)}
	w.announced = func(changed map[string]godbus.Variant) bool {
		value, ok := changed[name]
		if !ok {
			return false
		}
		saw = value.Value()
		same, err := Equal(value, want)
		return same && err == nil
	}
	property := &reading{unit: unit, name: name}
	w.look = func(ctx context.Context, c *connection) (bool, error) {
		value, at, err := property.read(ctx, c)
		if err != nil {
			return false, err
		}
		saw, w.at, w.general = value.Value(), at, property.of == unitInterface
		same, err := Equal(value, want)
		if err != nil || same && w.seen {
			return true, err
		}
		p, err := c.unit(ctx, unit)
		switch {
		case err != nil:
			return false, err
		case w.exists(p) && same:
			return true, nil
		case grows(name, value, want):
			return true, unreachable("it only grows")
		case ofFile(p, name):
			return false, nil
		}
		err = w.stays(ctx, c, p)
		if err == nil {
			return false, nil
		}
		// What has just ended may have been what changed it. Look again after it.
		again, _, lookErr := property.read(ctx, c)
		if lookErr != nil {
			return false, lookErr
		}
		saw = again.Value()
		if same, _ := Equal(again, want); same && w.exists(p) {
			return true, nil
		}
		return true, err
	}
	err = m.lookAgain(ctx, w)
	return saw, err
}

// WaitProperties waits until met accepts the properties of a unit. It looks again after
// each signal that is about the unit, and fails at once with an ErrStateUnreachable if
// nothing can change the unit any more. It returns the properties that it saw last.
func (m *Manager) WaitProperties(ctx context.Context, unit string, met func(map[string]any) bool) (saw map[string]any, err error) {
	if err := CheckUnitName(unit); err != nil {
		return nil, err
	}
	w := &lookWait{unit: unit}
	w.look = func(ctx context.Context, c *connection) (bool, error) {
		p, err := c.allProperties(ctx, unit)
		if err != nil {
			return false, err
		}
		if saw = p; w.exists(p) && met(p) {
			return true, nil
		}
		if err = w.stays(ctx, c, p); err == nil {
			return false, nil
		}
		again, lookErr := c.allProperties(ctx, unit)
		if lookErr != nil {
			return false, lookErr
		}
		saw = again
		return true, orNil(w.exists(again) && met(again), err)
	}
	err = m.lookAgain(ctx, w)
	return saw, err
}

// orNil returns nil if ok, and otherwise err.
func orNil(ok bool, err error) error {
	if ok {
		return nil
	}
	return err
}

// WaitSettled waits until a unit has no job and is not on its way to another state. It
// returns the properties that it saw last.
func (m *Manager) WaitSettled(ctx context.Context, unit string) (saw map[string]any, err error) {
	return m.WaitProperties(ctx, unit, func(p map[string]any) bool {
		return JobOf(p) == 0 && !moving(properties(p).text("ActiveState")) && !restarts(properties(p).text("SubState"))
	})
}

// Equal reports whether the value of a property is want. Numbers are compared by their
// value. A want of another type is an error.
func Equal(value godbus.Variant, want any) (bool, error) {
	if want == nil {
		return false, fmt.Errorf("nil is no value of a property")
	}
	into := reflect.New(reflect.TypeOf(want))
	if err := Store(value, into.Interface()); err != nil {
		if isNumber(value.Value()) && isNumber(want) {
			return false, nil // it does not fit
		}
		return false, err
	}
	return reflect.DeepEqual(into.Elem().Interface(), want), nil
}

func isNumber(value any) bool {
	v := reflect.ValueOf(value)
	return v.CanInt() || v.CanUint()
}

// grows reports whether a counter that only grows is beyond want.
func grows(name string, value godbus.Variant, want any) bool {
	if name != "NAccepted" && name != "NRefused" || !isNumber(want) {
		return false
	}
	n, _ := value.Value().(uint32)
	v := reflect.ValueOf(want)
	return v.CanInt() && v.Int() < int64(n) || v.CanUint() && v.Uint() < uint64(n)
}

// ofFile reports whether a property is about unit files, which may change while the unit is
// down.
func ofFile(p properties, name string) bool {
	_, ok := p[name]
	return ok && !slices.Contains([]string{"ActiveState", "SubState", "Job", "InvocationID"}, name)
}
