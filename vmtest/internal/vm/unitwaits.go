package vm

import (
	"context"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// WaitProperty waits until a property of a unit is want, as systemd.Manager.WaitProperty.
func (u *Units) WaitProperty(ctx context.Context, unit, name string, want any) (any, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	saw, err := u.Systemd.WaitProperty(ctx, unit, name, want)
	return saw, u.machine.Explain(ctx, "lost", err)
}

// WaitProperties waits until met accepts the properties of a unit, as
// systemd.Manager.WaitProperties.
func (u *Units) WaitProperties(ctx context.Context, unit string, met func(map[string]any) bool) (map[string]any, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	saw, err := u.Systemd.WaitProperties(ctx, unit, met)
	return saw, u.machine.Explain(ctx, "lost", err)
}

// WaitSettled waits until a unit is on its way nowhere, as systemd.Manager.WaitSettled.
func (u *Units) WaitSettled(ctx context.Context, unit string) (map[string]any, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	saw, err := u.Systemd.WaitSettled(ctx, unit)
	return saw, u.machine.Explain(ctx, "lost", err)
}

// WaitInstances waits for a number of instances, as systemd.Manager.WaitInstances.
func (u *Units) WaitInstances(ctx context.Context, template string, n int) ([]systemd.ListedUnit, error) {
	ctx, cancel := u.machine.bounded(ctx)
	defer cancel()
	saw, err := u.Systemd.WaitInstances(ctx, template, n)
	return saw, u.machine.Explain(ctx, "lost", err)
}
