package vmtest

import (
	"context"
	"io"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// Show runs systemctl show on the unit and returns the named properties, by name, or all of
// them if none is named. The values are those that systemctl prints. A property that comes in several lines, such as Listen of a socket with several
// addresses, has them joined by line feeds. Show fails if the unit's type has no such
// property, and if the unit's name is not a full one: systemctl would complete it, or take
// it as a pattern. It does not fail if the unit does not exist: LoadState is then
// "not-found".
func (u *MachineUnit) Show(ctx context.Context, properties ...string) (map[string]string, error) {
	return u.machine.shower().Show(ctx, u.name, properties...)
}

func (m *Machine) shower() systemd.Shower {
	return systemd.Shower{
		Run: func(ctx context.Context, args []string, stdout io.Writer) error {
			return m.runTo(ctx, m.scoped(args), stdout)
		},
		Properties: func(ctx context.Context, unit string) (map[string]any, error) {
			conn, err := m.Systemd(ctx)
			if err != nil {
				return nil, err
			}
			return conn.GetAllPropertiesContext(ctx, unit)
		},
	}
}

// Show returns properties of the unit as systemctl show prints them, as MachineUnit.Show.
func (u *Unit) Show(t testing.TB, properties ...string) map[string]string {
	t.Helper()
	return get(t, u.guest, func(ctx context.Context) (map[string]string, error) { return u.unit.Show(ctx, properties...) })
}
