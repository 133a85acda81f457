package scenarios

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// unitDir is where the guest takes units from a test, systemd.unit(5).
func unitDir(g *vmtest.Guest) string { return g.Machine.Image().UnitDir() }

// enabledState is the UnitFileState of a unit that is enabled there, systemctl(1):
// in /run it lasts until the next boot.
func enabledState(g *vmtest.Guest) string {
	if g.Machine.Image().RuntimeUnits() {
		return "enabled-runtime"
	}
	return "enabled"
}

// copyUnits puts the unit files of a folder into the guest. What they run from /bin
// is run from where the guest has its programs.
func copyUnits(t testing.TB, g *vmtest.Guest, unitFolder string) {
	t.Helper()
	units := fstest.MapFS{}
	files := os.DirFS(unitFolder)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, name)
		text = bytes.ReplaceAll(text, []byte("=/bin/"), []byte("="+g.Machine.Image().BinDir()+"/"))
		units[name] = &fstest.MapFile{Data: text, Mode: 0o644}
		return err
	})
	require.NoError(t, err)
	g.CopyFS(t, units, unitDir(g))
}

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
	copyUnits(t, g, unitFolder)
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
func unitFile(g *vmtest.Guest, unit string) string { return path.Join(unitDir(g), unit) }

// properties of a unit, by name.
type properties = map[string]string

// assertShow compares properties of a unit, as systemctl show prints them.
func assertShow(t testing.TB, g *vmtest.Guest, unit string, want properties) {
	t.Helper()
	names := slices.Sorted(maps.Keys(want))
	assert.Equal(t, want, g.Unit(unit).Show(t, names...), "systemctl show %s", unit)
}

// show returns one property of a unit.
func show(t testing.TB, g *vmtest.Guest, unit, property string) string {
	t.Helper()
	return g.Unit(unit).Show(t, property)[property]
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
