package scenarios

import (
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
)

// unitDir is where an administrator puts units, systemd.unit(5).
const unitDir = "/etc/systemd/system"

// What most units of these tests are called, and where they listen.
const (
	echoSocket    = "demo-echo.socket"
	echoService   = "demo-echo.service"  // Accept=no
	echoTemplate  = "demo-echo@.service" // Accept=yes
	echoInstances = "demo-echo@*.service"
	echoAddress   = "127.0.0.1:9091"
)

// startGuest starts a machine and puts the unit files of a folder into it. systemd
// finds units that it has not loaded yet by itself; only a changed one needs a
// daemon-reload.
func startGuest(t testing.TB, unitFolder string) *vmtest.Guest {
	t.Helper()
	g := vmtest.Start(t, vmtest.Config{})
	g.CopyFS(t, os.DirFS(unitFolder), unitDir)
	return g
}

// startEchoGuest is startGuest with the echo daemon installed.
func startEchoGuest(t testing.TB, unitFolder string) *vmtest.Guest {
	t.Helper()
	g := startGuest(t, unitFolder)
	g.InstallGo(t, "example.org/systemd-vmtest/echo/cmd/demo-echo", "/usr/local/bin/demo-echo")
	return g
}

// systemctl runs systemctl, which must succeed.
func systemctl(t testing.TB, g *vmtest.Guest, args ...string) string {
	t.Helper()
	return g.Run(t, append([]string{"systemctl"}, args...)...)
}

// unitFile is where a unit's file is in the guest.
func unitFile(unit string) string { return path.Join(unitDir, unit) }

// properties of a unit, by name.
type properties = map[string]string

// assertShow compares properties of a unit, as systemctl show prints them.
func assertShow(t testing.TB, g *vmtest.Guest, unit string, want properties) {
	t.Helper()
	names := slices.Sorted(maps.Keys(want))
	assert.Equal(t, want, g.Show(t, unit, names...), "systemctl show %s", unit)
}

// show returns one property of a unit.
func show(t testing.TB, g *vmtest.Guest, unit, property string) string {
	t.Helper()
	return g.Show(t, unit, property)[property]
}

// listUnits returns the names of the units in a state, such as "active", that match
// a pattern.
func listUnits(t testing.TB, g *vmtest.Guest, state, pattern string) []string {
	t.Helper()
	out := systemctl(t, g, "list-units", "--plain", "--no-legend", "--no-pager", "--full", "--state="+state, pattern)
	var units []string
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 0 {
			units = append(units, fields[0])
		}
	}
	return units
}
