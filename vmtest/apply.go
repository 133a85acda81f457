package vmtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// ApplyConfig does what a package manager does when it has installed files:
// systemd-sysusers adds the users and groups of /etc/sysusers.d, systemd-tmpfiles --create
// makes the files and directories of /etc/tmpfiles.d, and systemctl preset enables or
// disables units by the rules of /etc/systemd/system-preset. The first two also read the
// directories below /usr/lib and /run (sysusers.d(5), tmpfiles.d(5), systemd.preset(5)).
// Without units there is no third step. Units are named as for EnableNow, and are not
// started.
//
// On a machine of AsUser the second step then makes the user's files too, those of
// ~/.config/user-tmpfiles.d and the other directories of tmpfiles.d(5), and the third is
// about the user's units, by the rules of /etc/systemd/user-preset.
//
// A tool that fails is an error with what it printed. So is a line that systemd-sysusers
// does not understand, though it exits with 0.
func (m *Machine) ApplyConfig(ctx context.Context, units ...string) error {
	if len(units) > 0 {
		if err := checkUnits("preset", units); err != nil {
			return err
		}
	}
	if err := m.system().sysusers(ctx); err != nil {
		return err
	}
	if _, err := m.system().Run(ctx, "systemd-tmpfiles", "--create"); err != nil {
		return err
	}
	if m.user != nil {
		if _, err := m.Run(ctx, "systemd-tmpfiles", "--user", "--create"); err != nil {
			return err
		}
	}
	if len(units) == 0 {
		return nil
	}
	_, err := m.systemctl(ctx, slices.Concat([]string{"preset"}, m.runtime(), []string{"--"}, units))
	return err
}

// sysusers runs systemd-sysusers.
func (m *Machine) sysusers(ctx context.Context, args ...string) error {
	c := Command{Args: append([]string{"systemd-sysusers"}, args...)}
	r, err := m.run(ctx, c)
	if err != nil {
		return err
	}
	if faults := systemd.SysusersFaults(string(r.Stderr)); faults != nil {
		return fmt.Errorf("run %s: %s", c, strings.Join(faults, "; "))
	}
	return nil
}

// ApplyConfig applies sysusers.d, tmpfiles.d and the presets of units, as
// Machine.ApplyConfig.
func (g *Guest) ApplyConfig(t testing.TB, units ...string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.ApplyConfig(ctx, units...) })
}
