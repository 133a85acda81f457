package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// Show runs systemctl show on the unit and returns the named properties, by name, or all of
// them if none is named. The values are those that systemctl prints. State and Property
// have them typed, and run no program in the guest. A property that comes in several lines,
// such as Listen of a socket with several addresses, has them joined by line feeds. Show
// fails if the unit's type has no such property, and if the unit's name is not a full one:
// systemctl would complete it, or take it as a pattern. It does not fail if the unit does
// not exist: LoadState is then "not-found".
func (u *MachineUnit) Show(ctx context.Context, properties ...string) (map[string]string, error) {
	values, err := u.machine.shower().Show(ctx, u.name, properties...)
	return values, public(err)
}

// Status runs systemctl status on the unit and returns what it prints, with the last lines
// of the unit's journal. It takes as long as a program takes to start in the guest; State is
// for what a test decides by. A unit that does not exist is an [ErrNoUnit].
func (u *MachineUnit) Status(ctx context.Context) (string, error) {
	if err := systemd.CheckUnitName(u.name); err != nil {
		return "", fmt.Errorf("status: %w", public(err))
	}
	m := u.machine
	r, err := m.run(ctx, Command{Args: m.scoped([]string{"systemctl", "status", "--no-pager", "--full", "--", u.name})})
	switch {
	case r.ExitCode == noSuchUnit:
		err = fmt.Errorf("status of %s: %w", u.name, ErrNoUnit)
	case r.ExitCode > 0: // as it is for one that is not active
		err = nil
	}
	return string(r.Stdout), err
}

// noSuchUnit is the exit status of systemctl status; systemctl(1), EXIT STATUS.
const noSuchUnit = 4

func (m *Machine) shower() systemd.Shower {
	return systemd.Shower{
		Run: func(ctx context.Context, args []string, stdout io.Writer) error {
			return m.runTo(ctx, m.scoped(args), stdout)
		},
		Properties: func(ctx context.Context, unit string) (map[string]any, error) {
			known, err := m.units().Properties(ctx, unit)
			if errors.Is(err, ErrNoUnit) { // it has properties all the same
				err = nil
			}
			return known, err
		},
	}
}

// Status returns what systemctl status prints about the unit, as MachineUnit.Status.
func (u *Unit) Status(t testing.TB) string {
	t.Helper()
	return get(t, u.guest, u.unit.Status)
}

// Show returns properties of the unit as systemctl show prints them, as MachineUnit.Show.
func (u *Unit) Show(t testing.TB, properties ...string) map[string]string {
	t.Helper()
	return get(t, u.guest, func(ctx context.Context) (map[string]string, error) { return u.unit.Show(ctx, properties...) })
}
