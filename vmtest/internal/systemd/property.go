package systemd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

// PropertyError reports that units of a type have no property of a name.
type PropertyError struct {
	Unit, Property string
	Version        string // of systemd, or "" if it was not asked
}

func (e *PropertyError) Error() string {
	if e.Version == "" {
		return fmt.Sprintf("it has no property %q", e.Property)
	}
	return fmt.Sprintf("%s has no property %q: systemd %s gives units of its type none", e.Unit, e.Property, e.Version)
}

// Property returns a property of a unit by its name. A unit that does not exist is an
// ErrNoUnit, and a name that its type does not have a *PropertyError.
func (m *Manager) Property(ctx context.Context, unit, name string) (value godbus.Variant, err error) {
	if err := CheckUnitName(unit); err != nil {
		return value, err
	}
	err = m.follow(ctx, func(c *connection, _ *signals) error {
		value, err = c.existing(ctx, unit, name)
		return err
	})
	return value, err
}

// existing returns a property of a unit that exists.
func (c *connection) existing(ctx context.Context, unit, name string) (godbus.Variant, error) {
	value, err := c.property(ctx, unit, name)
	if err != nil || name == "ActiveState" && value.Value() != "inactive" {
		return value, err
	}
	load, err := c.get(ctx, unit, unitInterface, "LoadState")
	if err != nil || load.Value() != "not-found" {
		return value, err
	}
	p, err := c.unit(ctx, unit)
	if err != nil {
		return value, err
	}
	return value, p.missing()
}

// property returns a property of the interface of a unit's type, or of the one that all
// units have.
func (c *connection) property(ctx context.Context, unit, name string) (godbus.Variant, error) {
	r := &reading{unit: unit, name: name}
	value, _, err := r.read(ctx, c)
	return value, err
}

// reading reads a property of a unit, once or again.
type reading struct {
	unit, name string
	of         string // the interface that has it, once that is known
}

// read returns the value, and the place of the answer among the signals.
func (r *reading) read(ctx context.Context, c *connection) (godbus.Variant, godbus.Sequence, error) {
	if r.of != "" {
		return c.getAt(ctx, r.unit, r.of, r.name)
	}
	if !propertyName.MatchString(r.name) {
		return godbus.Variant{}, 0, fmt.Errorf("%q is not the name of a property", r.name)
	}
	interfaces := []string{typeInterface(r.unit), unitInterface}
	if slices.Contains(general, r.name) {
		slices.Reverse(interfaces)
	}
	for _, of := range interfaces {
		value, at, err := c.getAt(ctx, r.unit, of, r.name)
		if !isUnknownProperty(err) {
			r.of = of
			return value, at, err
		}
	}
	version, err := c.version(ctx)
	if err != nil {
		return godbus.Variant{}, 0, err
	}
	return godbus.Variant{}, 0, &PropertyError{r.unit, r.name, version}
}

// general are properties that all units have and that are read often. Each is asked for where
// it is, because an emulator has to translate systemd's code for the other answer, too.
var general = []string{"ActiveState", "SubState", "LoadState", "UnitFileState", "Job", "Id", "InvocationID", "FragmentPath"}

// typeInterface returns the D-Bus interface of a unit's type.
func typeInterface(unit string) string {
	kind := unitType(unit)
	return managerName + "." + strings.ToUpper(kind[:1]) + kind[1:]
}

// isUnknownProperty reports whether systemd answered that an object has no such property.
func isUnknownProperty(err error) bool {
	e, ok := errors.AsType[godbus.Error](err)
	return ok && slices.Contains([]string{"org.freedesktop.DBus.Error.UnknownProperty", "org.freedesktop.DBus.Error.UnknownInterface"}, e.Name)
}

// get reads a property of an interface of a unit.
func (c *connection) get(ctx context.Context, unit, of, name string) (godbus.Variant, error) {
	value, _, err := c.getAt(ctx, unit, of, name)
	return value, err
}

// getAt is get that also returns the place of the answer among the signals.
func (c *connection) getAt(ctx context.Context, unit, of, name string) (value godbus.Variant, at godbus.Sequence, err error) {
	object := c.raw.Object(managerName, objectPath(unit))
	call := object.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, of, name)
	err = call.Store(&value)
	if err != nil && err == ctx.Err() {
		err = context.Cause(ctx)
	}
	if err != nil {
		return value, 0, fmt.Errorf("read %s of %s: %w", name, unit, c.ended(err))
	}
	return value, call.ResponseSequence, nil
}

// Properties returns all properties of a unit. A unit that does not exist is an ErrNoUnit, and
// has properties with it.
func (m *Manager) Properties(ctx context.Context, unit string) (map[string]any, error) {
	if err := CheckUnitName(unit); err != nil {
		return nil, err
	}
	var p properties
	err := m.follow(ctx, func(c *connection, _ *signals) (err error) {
		if p, err = c.allProperties(ctx, unit); err != nil {
			return err
		}
		return p.missing()
	})
	return p, err
}

// missing returns ErrNoUnit if the unit does not exist. One that runs or has a job exists,
// with or without a file.
func (p properties) missing() error {
	if p["LoadState"] == "not-found" && p["ActiveState"] == "inactive" && p.job() == 0 {
		return ErrNoUnit
	}
	return nil
}

// unitsOf returns the unit in which a property has a time span, or 0 if it has none.
func unitsOf(property string) time.Duration {
	switch {
	case strings.HasSuffix(property, "USec"):
		return time.Microsecond
	case strings.HasSuffix(property, "NSec"):
		return time.Nanosecond
	}
	return 0
}

// SpanOf returns a number of a property as a time span, and the longest for no limit.
func SpanOf(property string, n uint64) (time.Duration, error) {
	unit := unitsOf(property)
	switch {
	case unit == 0:
		return 0, fmt.Errorf("%s is no time span: its name ends neither in USec nor in NSec", property)
	case n == math.MaxUint64:
		return forever, nil
	case n > uint64(forever/unit):
		return 0, fmt.Errorf("%d times %v does not fit into a time.Duration", n, unit)
	}
	return time.Duration(n) * unit, nil
}

// forever is the time span of what has no limit.
const forever time.Duration = math.MaxInt64

// NumberOf returns the number that a property has for a time span.
func NumberOf(property string, span time.Duration) (uint64, error) {
	unit := unitsOf(property)
	switch {
	case unit == 0:
		return 0, fmt.Errorf("%s is no time span: its name ends neither in USec nor in NSec", property)
	case span == forever:
		return math.MaxUint64, nil
	case span < 0 || span%unit != 0:
		return 0, fmt.Errorf("%s cannot be %v, because it counts units of %v", property, span, unit)
	}
	return uint64(span / unit), nil
}

// Store stores the value of a property in what into points to. Its type is the D-Bus type
// as godbus.Store has it, or a number that can hold the value.
func Store(value godbus.Variant, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("%T is no pointer to store a value in", into)
	}
	target = target.Elem()
	fits := true
	switch source := reflect.ValueOf(value.Value()); {
	case source.CanInt() && target.CanUint():
		fits = source.Int() >= 0 && !target.OverflowUint(uint64(source.Int()))
	case source.CanInt() && target.CanInt():
		fits = !target.OverflowInt(source.Int())
	case source.CanUint() && target.CanUint():
		fits = !target.OverflowUint(source.Uint())
	case source.CanUint() && target.CanInt():
		fits = int64(source.Uint()) >= 0 && !target.OverflowInt(int64(source.Uint()))
	case source.CanInt() || source.CanUint(): // which reflect makes a rune of for a string
		fits = target.Kind() == reflect.Interface || target.CanFloat() || target.Type() == reflect.TypeFor[godbus.Variant]()
	}
	if !fits {
		return fmt.Errorf("%v of D-Bus type %s does not fit into a %v", value.Value(), value.Signature(), target.Type())
	}
	if err := godbus.Store([]any{value.Value()}, into); err != nil {
		return fmt.Errorf("value of D-Bus type %s does not fit into a %v: %w", value.Signature(), target.Type(), err)
	}
	return nil
}
