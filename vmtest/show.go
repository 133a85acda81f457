package vmtest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// Show runs systemctl show on a unit and returns the named properties, or all. A
// property that comes in several lines, such as Listen of a socket with several
// addresses, has them joined by line feeds. A property that there is none of is an
// error; a unit that there is none of is not, and has LoadState=not-found.
func (u *MachineUnit) Show(ctx context.Context, properties ...string) (map[string]string, error) {
	args := []string{"systemctl", "show"}
	for _, p := range properties {
		args = append(args, "--property="+p)
	}
	r, err := u.machine.run(ctx, Command{Args: append(args, "--", u.name)}) // there is a -.mount
	if err != nil {
		return nil, err
	}
	values := systemd.ParseShow(string(r.Stdout), properties...)
	return values, u.noSuchProperty(ctx, values, properties)
}

// noSuchProperty is an error when a property has not been shown because there is none
// of that name. An empty list is not shown either.
func (u *MachineUnit) noSuchProperty(ctx context.Context, shown map[string]string, wanted []string) error {
	var missing []string
	for _, names := range wanted {
		for name := range strings.SplitSeq(names, ",") {
			if _, ok := shown[name]; !ok {
				missing = append(missing, name)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	conn, err := u.machine.Systemd(ctx)
	if err != nil {
		return err
	}
	all, err := conn.GetAllPropertiesContext(ctx, u.name)
	if err != nil {
		return nil // a pattern, or a name that systemctl completes
	}
	for _, name := range missing {
		if _, ok := all[name]; !ok {
			return fmt.Errorf("show %s: it has no property %q", u.name, name)
		}
	}
	return nil
}

// Show returns properties of the unit as systemctl show prints them, as MachineUnit.Show.
func (u *Unit) Show(t testing.TB, properties ...string) map[string]string {
	t.Helper()
	return get(t, u.guest, func(ctx context.Context) (map[string]string, error) { return u.unit.Show(ctx, properties...) })
}
