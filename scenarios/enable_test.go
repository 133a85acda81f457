package scenarios

import (
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// Units are enabled and disabled as systemctl does it: with the same links, the same refusals
// in the same words, and the same states afterwards. See systemctl(1), enable; and
// org.freedesktop.systemd1(5), EnableUnitFiles.
func TestEnable(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/enable")
	dir := unitDir(g)
	link := func(where, unit string) vmtest.UnitFileChange {
		return vmtest.UnitFileChange{Type: "symlink", Path: path.Join(dir, where), Target: path.Join(dir, unit)}
	}
	for _, test := range []struct {
		unit  string
		links []vmtest.UnitFileChange
	}{
		{"wanted.service", []vmtest.UnitFileChange{link("multi-user.target.wants/wanted.service", "wanted.service")}},
		{"aliased.service", []vmtest.UnitFileChange{link("another.service", "aliased.service")}},
		{"instances@.service", []vmtest.UnitFileChange{link("multi-user.target.wants/instances@default.service", "instances@.service")}},
		{"instances@two.service", []vmtest.UnitFileChange{link("multi-user.target.wants/instances@two.service", "instances@.service")}},
	} {
		assert.Equal(t, test.links, g.Enable(t, test.unit), "enable %s", test.unit)
		assert.Empty(t, g.Enable(t, test.unit), "enable %s again", test.unit)
		out := systemctlText(t, g, "enable", test.unit)
		assert.Empty(t, out, "systemctl enable %s after it", test.unit)
		if !strings.Contains(test.unit, "@.") {
			assert.Equal(t, enabledState(g), show(t, g, test.unit, "UnitFileState"))
		}
		removed := g.Disable(t, test.unit)
		if assert.Len(t, removed, 1) {
			assert.Equal(t, vmtest.UnitFileChange{Type: "unlink", Path: test.links[0].Path}, removed[0])
		}
		assert.Empty(t, systemctlText(t, g, "disable", test.unit), "systemctl disable %s after it", test.unit)
		assert.Contains(t, systemctlText(t, g, "enable", test.unit), test.links[0].Path)
		assert.Empty(t, g.Enable(t, test.unit), "enable %s after systemctl", test.unit)
	}

	g.Run(t, "ln", "-s", "/dev/null", unitFile(g, "masked.service"))
	for _, unit := range []string{"no-such.service", "no-such@a.service", "masked.service", "another.service"} {
		_, err := g.Machine.Enable(t.Context(), unit)
		require.Error(t, err, unit)
		theirs := systemctlText(t, g, "enable", unit)
		_, ours, _ := strings.Cut(err.Error(), "enable "+unit+": ")
		assert.NotEmpty(t, ours)
		assert.Contains(t, strings.ReplaceAll(theirs, "\"", ""), strings.TrimSuffix(ours, "."), "what systemctl reports about %s", unit)
		assert.Equal(t, strings.HasPrefix(unit, "no-such"), isNoUnit(err), "%v", err)
	}
	// The named units are there all or none.
	_, err := g.Machine.EnableNow(t.Context(), "installless.service", "no-such.service")
	assert.ErrorIs(t, err, vmtest.ErrNoUnit)
	_, err = g.Machine.EnableNow(t.Context(), "installless.service")
	assert.EqualError(t, err, "enable installless.service: no [Install] section; use Start")
	assert.Equal(t, "inactive", show(t, g, "installless.service", "ActiveState"))
	g.EnableNow(t, "instances@two.service", unitFile(g, "wanted.service"))
	assertShow(t, g, "wanted.service", properties{"ActiveState": "active", "UnitFileState": enabledState(g)})
	assertShow(t, g, "instances@two.service", properties{"ActiveState": "active", "UnitFileState": enabledState(g)})
}

func isNoUnit(err error) bool { return errors.Is(err, vmtest.ErrNoUnit) }

// systemctlText runs systemctl and returns all that it printed, whatever its exit status.
func systemctlText(t testing.TB, g *vmtest.Guest, verb, unit string) string {
	t.Helper()
	args := []string{"systemctl", verb}
	if g.Machine.Image().RuntimeUnits() {
		args = append(args, "--runtime")
	}
	r := g.Exec(t, vmtest.Command{Args: append(args, unit)})
	return string(r.Stdout) + string(r.Stderr)
}

// A unit that is enabled already, and whose files have changed, is read again, as systemctl
// does. So is a directory of drop-ins that was not there before.
func TestEnableReadsChangedUnits(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/enable")
	g.EnableNow(t, "wanted.service")
	for _, dropIn := range []string{"10-first.conf", "20-second.conf"} {
		g.WriteFile(t, unitFile(g, "wanted.service")+".d/"+dropIn, []byte("[Unit]\nDescription="+dropIn+"\n"), 0o644)
		g.EnableNow(t, "wanted.service")
		assert.Equal(t, dropIn, show(t, g, "wanted.service", "Description"))
	}
}

// A script of System V's init is enabled by what systemctl runs for it.
func TestEnableOfSysVScript(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	if image := g.Machine.Image(); noInitScripts.of(g) || !strings.HasPrefix(image.Distribution, "Debian") {
		t.Skipf("%s has no systemd-sysv-install: init scripts are of Debian, and of systemd before %d", image.Name, noInitScripts.since)
	}
	g.WriteFile(t, "/etc/init.d/old-daemon", []byte(`#!/bin/sh
### BEGIN INIT INFO
# Provides: old-daemon
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
`), 0o755)
	g.Enable(t, "old-daemon.service")
	assert.NotEmpty(t, g.Run(t, "sh", "-c", "ls -d /etc/rc*.d/S*old-daemon"))
}
