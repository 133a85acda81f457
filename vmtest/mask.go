package vmtest

import (
	"context"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// Mask makes it impossible to start units, as systemctl mask does, and returns the links to
// /dev/null that systemd made. Units that run go on. A unit whose file is in the
// directory where the link would be, as that of a test is, cannot be masked. Unit files are
// read again as by Enable.
func (m *Machine) Mask(ctx context.Context, units ...string) ([]UnitFileChange, error) {
	return m.changeFiles(ctx, systemd.Mask, units)
}

// Unmask removes what Mask made, as systemctl unmask does, and returns the links that systemd
// removed. A unit that is not masked is left alone.
func (m *Machine) Unmask(ctx context.Context, units ...string) ([]UnitFileChange, error) {
	return m.changeFiles(ctx, systemd.Unmask, units)
}

// Mask makes it impossible to start units, as Machine.Mask.
func (g *Guest) Mask(t testing.TB, units ...string) []UnitFileChange {
	t.Helper()
	return get(t, g, func(ctx context.Context) ([]UnitFileChange, error) { return g.Machine.Mask(ctx, units...) })
}

// Unmask removes what Mask made, as Machine.Unmask.
func (g *Guest) Unmask(t testing.TB, units ...string) []UnitFileChange {
	t.Helper()
	return get(t, g, func(ctx context.Context) ([]UnitFileChange, error) { return g.Machine.Unmask(ctx, units...) })
}
