package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A value may have lines that look like other properties, and a name is not completed.
// See systemctl(1), show.
func TestShow(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/show")
	g.Unit("lines.service").Start(t)
	for _, names := range [][]string{nil, {"ExecStart", "ExecStop", "ActiveState", "SubState"}} {
		p := g.Unit("lines.service").Show(t, names...)
		assert.Equal(t, "active", p["ActiveState"], "asked for %v", names)
		assert.Equal(t, "exited", p["SubState"])
		assert.Empty(t, p["ExecStop"])
		assert.Contains(t, p["ExecStart"], "true\nActiveState=failed\nExecStop=nothing ;")
	}
	for _, name := range []string{"lines", "lines.*", "lin*.service"} {
		p, err := g.Machine.Unit(name).Show(t.Context(), "ActiveState")
		assert.ErrorContains(t, err, fmt.Sprintf("show %s: unit name %q ", name, name))
		assert.Empty(t, p)
	}
	assert.Equal(t, "not-found", show(t, g, "missing.service", "LoadState"))
}

// What Show takes from D-Bus it words as systemctl does, for units of all types.
func TestShowIsWhatSystemctlPrints(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	g.WriteFile(t, unitFile(g, "every.timer"), []byte("[Timer]\nOnActiveSec=1d\nUnit=dbus.service\n"), 0o644)
	g.WriteFile(t, unitFile(g, "every.path"), []byte("[Path]\nPathExists=/none\nUnit=dbus.service\n"), 0o644)
	for _, unit := range []string{
		"dbus.service", "dbus.socket", "systemd-journald.socket", "systemd-journald.service", "every.timer", "every.path",
		"-.mount", "-.slice", "init.scope", "basic.target", "dev-ttyS0.device", "missing.service", "no-such.swap", "no-such.automount",
	} {
		typed, err := g.Systemd(t).GetAllPropertiesContext(t.Context(), unit)
		require.NoError(t, err)
		maps.DeleteFunc(typed, func(_ string, value any) bool {
			switch value.(type) {
			case string, bool, int32, uint32, []string:
				return false
			}
			return true // systemctl is asked for it
		})
		names := slices.Sorted(maps.Keys(typed))
		printed := make(map[string]string)
		for line := range strings.Lines(g.Run(t, "systemctl", "show", "--property="+strings.Join(names, ","), "--", unit)) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			printed[name] = value
		}
		assert.Equal(t, printed, g.Unit(unit).Show(t, names...), unit)
	}
}

// A systemd that re-executes itself while it is asked answers afterwards.
func TestShowOutlivesReexec(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	reexecuted := make(chan error, 1)
	go func() {
		_, err := g.Machine.Run(t.Context(), "systemctl", "daemon-reexec")
		reexecuted <- err
	}()
	for during := 0; ; during++ {
		assertShow(t, g, "basic.target", properties{"ActiveState": "active"})
		select {
		case err := <-reexecuted: // or on its way to that, so once more
			require.NoError(t, err)
			require.NotZero(t, during, "answers while systemctl daemon-reexec ran")
			t.Logf("%d answers while systemctl daemon-reexec ran", during)
			assertShow(t, g, "basic.target", properties{"ActiveState": "active"})
			return
		default:
		}
	}
}
