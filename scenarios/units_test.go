package scenarios

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// unitDir returns the guest's directory for the units of a test; see systemd.unit(5).
func unitDir(g *vmtest.Guest) string { return g.Machine.Image().UnitDir() }

// enabledState returns the UnitFileState of an enabled unit in unitDir. A unit in /run is
// enabled until the next boot; see systemctl(1).
func enabledState(g *vmtest.Guest) string {
	if g.Machine.Image().RuntimeUnits() {
		return "enabled-runtime"
	}
	return "enabled"
}

// copyUnits copies the unit files in dir to the guest. It replaces /bin in them by the
// guest's directory of programs.
func copyUnits(t testing.TB, g *vmtest.Guest, dir string) {
	t.Helper()
	copyUnitsTo(t, g, dir, unitDir(g))
}

// copyUnitsTo is copyUnits into the directory to of the guest.
func copyUnitsTo(t testing.TB, g *vmtest.Guest, dir, to string) {
	t.Helper()
	units := fstest.MapFS{}
	files := os.DirFS(dir)
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
	g.CopyFS(t, units, to)
}

// Names and address of most units in these tests.
const (
	echoSocket   = "demo-echo.socket"
	echoService  = "demo-echo.service"  // Accept=no
	echoTemplate = "demo-echo@.service" // Accept=yes
	echoAddress  = "127.0.0.1:9091"
)

// startGuest starts a guest and copies the unit files in dir to it. It needs no
// daemon-reload, because systemd has not loaded these units yet.
func startGuest(t testing.TB, dir string) *vmtest.Guest {
	t.Helper()
	g := vmtest.Start(t, vmtest.Config{})
	copyUnits(t, g, dir)
	return g
}

// withEcho has the echo daemon installed. Its units are left to the tests, because systemd
// loads them there for the first time.
var withEcho = vmtest.Template{
	Name: "echo daemon",
	Setup: func(t testing.TB, g *vmtest.Guest) {
		g.InstallGo(t, "example.org/systemd-vmtest/echo/cmd/demo-echo", "/usr/local/bin/demo-echo")
	},
}

// startEchoGuest is startGuest with the echo daemon installed.
func startEchoGuest(t testing.TB, dir string) *vmtest.Guest {
	t.Helper()
	g := withEcho.Start(t)
	copyUnits(t, g, dir)
	return g
}

// systemctl runs systemctl, which must succeed, and returns its output.
func systemctl(t testing.TB, g *vmtest.Guest, args ...string) string {
	t.Helper()
	return g.Run(t, append([]string{"systemctl"}, args...)...)
}

// unitFile returns the path of a unit's file in the guest.
func unitFile(g *vmtest.Guest, unit string) string { return path.Join(unitDir(g), unit) }

// properties are the properties of a unit by name.
type properties = map[string]string

// assertShow asserts the values of a unit's properties, as systemctl show prints them.
func assertShow(t testing.TB, g *vmtest.Guest, unit string, want properties) {
	t.Helper()
	names := slices.Sorted(maps.Keys(want))
	assert.Equal(t, want, g.Unit(unit).Show(t, names...), "systemctl show %s", unit)
}

// assertRunning asserts that the guest's systemd is "running", so that no unit has failed.
func assertRunning(t testing.TB, g *vmtest.Guest) {
	t.Helper()
	state, err := g.Systemd(t).SystemStateContext(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "running", state.Value.Value(), "state of the guest's systemd")
}

// show returns one property of a unit.
func show(t testing.TB, g *vmtest.Guest, unit, property string) string {
	t.Helper()
	return g.Unit(unit).Show(t, property)[property]
}
