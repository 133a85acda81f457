package vmtest

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// DaemonReload makes systemd read its unit files again.
func (m *Machine) DaemonReload(ctx context.Context) error {
	_, err := m.Run(ctx, m.scoped([]string{"systemctl", "daemon-reload"})...)
	return err
}

// EnableNow enables units, reads all unit files again, and starts the units. It returns
// what systemctl enable printed: the symbolic links that it made. A unit is a full name,
// or the path of a unit file in the guest. A unit without an [Install] section is an
// error, and nothing is started, because a boot would not start it; use Unit.Start.
// A unit that does not start is a *[UnitError].
func (m *Machine) EnableNow(ctx context.Context, units ...string) (string, error) {
	if err := checkUnits("enable", units); err != nil {
		return "", err
	}
	out, err := m.systemctl(ctx, slices.Concat([]string{"enable"}, m.runtime(), []string{"--"}, units))
	if err != nil {
		return out, err
	}
	if strings.Contains(out, "no installation config") {
		return out, fmt.Errorf("enable %s: no [Install] section; use Start", strings.Join(units, " "))
	}
	for _, unit := range units {
		if err := m.Unit(path.Base(unit)).Start(ctx); err != nil {
			return out, err
		}
	}
	return out, nil
}

// Disable disables units without stopping them, and returns what systemctl printed: the
// symbolic links that it removed.
func (m *Machine) Disable(ctx context.Context, units ...string) (string, error) {
	if err := checkUnits("disable", units); err != nil {
		return "", err
	}
	return m.systemctl(ctx, slices.Concat([]string{"disable"}, m.runtime(), []string{"--"}, units))
}

// checkUnits returns an error if one of the units is neither a unit's full name nor an
// absolute path of a unit file, which systemctl enable takes too.
func checkUnits(verb string, units []string) error {
	if len(units) == 0 {
		return fmt.Errorf("%s: no units", verb)
	}
	for _, unit := range units {
		if err := systemd.CheckUnitOrPath(unit); err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
	}
	return nil
}

// runtime returns the option that puts the links of enabled units into /run, for guests
// whose /etc takes none.
func (m *Machine) runtime() []string {
	if m.user == nil && m.Image().RuntimeUnits() {
		return []string{"--runtime"}
	}
	return nil
}

// systemctl runs systemctl and returns both streams, because it reports links on stderr.
func (m *Machine) systemctl(ctx context.Context, args []string) (string, error) {
	r, err := m.run(ctx, Command{Args: m.scoped(append([]string{"systemctl"}, args...))})
	return tail.Printable(string(append(r.Stdout, r.Stderr...))), err
}

// DaemonReload makes systemd read its unit files again.
func (g *Guest) DaemonReload(t testing.TB) {
	t.Helper()
	g.do(t, g.Machine.DaemonReload)
}

// EnableNow enables and starts units, and returns what systemctl printed, as
// Machine.EnableNow.
func (g *Guest) EnableNow(t testing.TB, units ...string) string {
	t.Helper()
	return get(t, g, func(ctx context.Context) (string, error) { return g.Machine.EnableNow(ctx, units...) })
}

// Disable disables units, and returns what systemctl printed, as Machine.Disable.
func (g *Guest) Disable(t testing.TB, units ...string) string {
	t.Helper()
	return get(t, g, func(ctx context.Context) (string, error) { return g.Machine.Disable(ctx, units...) })
}
