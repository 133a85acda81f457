package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// UnitFileChange is a change that systemd made to unit files (EnableUnitFiles of
// org.freedesktop.systemd1(5)).
type UnitFileChange struct {
	Type   string // "symlink", "unlink", or what systemd found instead, such as "masked"
	Path   string // of the symbolic link, in the guest
	Target string // of a "symlink"
}

// ErrNoUnit is in the error of a call that is about a unit which does not exist: there is
// no unit file, and the unit does not run without one.
var ErrNoUnit = systemd.ErrNoUnit

// DaemonReload makes systemd read its unit files again, as systemctl daemon-reload does. Faults
// in the files are no error; Verify finds them.
func (m *Machine) DaemonReload(ctx context.Context) error {
	if err := m.units().Reload(ctx); err != nil {
		return fmt.Errorf("daemon-reload: %w", public(err))
	}
	return nil
}

// Enable enables units, as systemctl enable does, and returns the symbolic links that
// systemd made. A unit is a full name, or the path of a unit file in the guest. A unit
// without an [Install] section is an error, because a boot would not start it.
//
// Like systemctl, Enable makes systemd read all unit files again, but only if there is a new
// link, or if the unit's own files have changed since systemd read them.
func (m *Machine) Enable(ctx context.Context, units ...string) ([]UnitFileChange, error) {
	return m.changeFiles(ctx, systemd.Enable, units)
}

// EnableNow enables units, as Enable, and starts them, as [MachineUnit.Start]. If a unit
// cannot be enabled, nothing is started. A template is started by the name of an instance
// alone. A unit that does not start is a *[UnitError].
func (m *Machine) EnableNow(ctx context.Context, units ...string) ([]UnitFileChange, error) {
	for _, unit := range units {
		if systemd.IsTemplate(path.Base(unit)) {
			return nil, fmt.Errorf("enable %s: a template cannot be started; name an instance, or use Enable", unit)
		}
	}
	changes, err := m.Enable(ctx, units...)
	if err != nil {
		return changes, err
	}
	for _, unit := range units {
		if err := m.Unit(path.Base(unit)).Start(ctx); err != nil {
			return changes, err
		}
	}
	return changes, nil
}

// Disable disables units without stopping them, as systemctl disable does, and returns the
// symbolic links that systemd removed. It reads unit files again as Enable does.
func (m *Machine) Disable(ctx context.Context, units ...string) ([]UnitFileChange, error) {
	return m.changeFiles(ctx, systemd.Disable, units)
}

func (m *Machine) changeFiles(ctx context.Context, verb systemd.FileVerb, units []string) ([]UnitFileChange, error) {
	if err := checkUnits(string(verb), units); err != nil {
		return nil, err
	}
	if verb == systemd.Enable {
		for _, unit := range units {
			m.announced.test(m.unitID(path.Base(unit)))
		}
	}
	changes, err := m.units().ChangeFiles(ctx, verb, units, m.runtime() != nil)
	if systemd.IsRefusal(err) && m.anySysV(ctx, units) {
		return nil, m.sysV(ctx, verb, units)
	}
	var all []UnitFileChange
	for _, c := range changes {
		all = append(all, UnitFileChange(c))
	}
	if err == nil {
		return all, nil
	}
	if errors.Is(err, systemd.ErrNoInstall) {
		err = fmt.Errorf("%w; use Start", err)
	}
	return all, fmt.Errorf("%s %s: %w", verb, tail.Printable(strings.Join(units, " ")), public(err))
}

// anySysV reports whether one of the units may come from a script of System V's init, which
// systemctl hands to a program of the distribution (systemd-sysv-install).
func (m *Machine) anySysV(ctx context.Context, units []string) bool {
	if m.user != nil {
		return false
	}
	for _, unit := range units {
		name, ok := strings.CutSuffix(unit, ".service")
		if !ok || strings.Contains(name, "/") {
			continue
		}
		if _, err := m.ReadFile(ctx, "/etc/init.d/"+name); !errors.Is(err, fs.ErrNotExist) {
			return err == nil
		}
	}
	return false
}

// sysV runs systemctl, for units that systemd itself refuses.
func (m *Machine) sysV(ctx context.Context, verb systemd.FileVerb, units []string) error {
	_, err := m.systemctl(ctx, append([]string{string(verb), "--"}, units...))
	return err
}

// checkUnits returns an error if one of the units is neither a unit's full name nor an
// absolute path of a unit file, which systemctl enable takes too.
func checkUnits(verb string, units []string) error {
	if len(units) == 0 {
		return fmt.Errorf("%s: no units", verb)
	}
	for _, unit := range units {
		if err := systemd.CheckUnitOrPath(unit); err != nil {
			return fmt.Errorf("%s: %w", verb, public(err))
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

// DaemonReload makes systemd read its unit files again, as Machine.DaemonReload.
func (g *Guest) DaemonReload(t testing.TB) {
	t.Helper()
	g.do(t, g.Machine.DaemonReload)
}

// Enable enables units, and returns the links that systemd made, as Machine.Enable.
func (g *Guest) Enable(t testing.TB, units ...string) []UnitFileChange {
	t.Helper()
	return get(t, g, func(ctx context.Context) ([]UnitFileChange, error) { return g.Machine.Enable(ctx, units...) })
}

// EnableNow enables and starts units, and returns the links that systemd made, as
// Machine.EnableNow.
func (g *Guest) EnableNow(t testing.TB, units ...string) []UnitFileChange {
	t.Helper()
	return get(t, g, func(ctx context.Context) ([]UnitFileChange, error) { return g.Machine.EnableNow(ctx, units...) })
}

// Disable disables units, and returns the links that systemd removed, as Machine.Disable.
func (g *Guest) Disable(t testing.TB, units ...string) []UnitFileChange {
	t.Helper()
	return get(t, g, func(ctx context.Context) ([]UnitFileChange, error) { return g.Machine.Disable(ctx, units...) })
}
