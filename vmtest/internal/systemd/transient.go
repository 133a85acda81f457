package systemd

import (
	"context"
	"errors"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// StartTransient makes a unit with the given properties, starts it, and waits until the job
// is done, as Run does.
func (m *Manager) StartTransient(ctx context.Context, unit string, set []dbus.Property) error {
	if err := CheckUnitName(unit); err != nil {
		return err
	}
	j := &pendingJob{verb: Start, unit: unit, method: "StartTransientUnit"}
	j.args = []any{unit, "fail", notNil(set), []dbus.PropertyCollection{}}
	return m.named(ctx, unit, set, m.runJob(ctx, j))
}

// SetProperties changes properties of a unit until the next boot.
func (m *Manager) SetProperties(ctx context.Context, unit string, set []dbus.Property) error {
	if err := CheckUnitName(unit); err != nil {
		return err
	}
	return m.named(ctx, unit, set, m.callOnce(ctx, "SetUnitProperties", unit, true, notNil(set)))
}

// notNil returns properties that have a D-Bus type even if there are none.
func notNil(set []dbus.Property) []dbus.Property { return append([]dbus.Property{}, set...) }

// named returns a *PropertyError instead of systemd's answer that it cannot set a property
// or does not have it, if units of the type have none of that name.
func (m *Manager) named(ctx context.Context, unit string, set []dbus.Property, err error) error {
	e, ok := errors.AsType[godbus.Error](err)
	if !ok || e.Name != "org.freedesktop.DBus.Error.PropertyReadOnly" {
		return err
	}
	for _, p := range set {
		if !strings.Contains(err.Error(), p.Name) {
			continue
		}
		_, propertyErr := m.Property(ctx, unit, p.Name)
		if unknown, ok := errors.AsType[*PropertyError](propertyErr); ok {
			return unknown
		}
	}
	return err
}
