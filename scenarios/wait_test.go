package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// waitShow waits until a property of a unit has a value, written as systemctl
// show prints it.
//
// systemd announces no change of NConnections and NAccepted. It announces the instances
// that they count, and each signal is a reason to look again.
func waitShow(t testing.TB, g *vmtest.Guest, unit, property, want string) {
	t.Helper()
	waitSystemd(t, g, fmt.Sprintf("%s of %s to be %s", property, unit, want),
		func(ctx context.Context, systemd *dbus.Conn) (string, bool, error) {
			all, err := systemd.GetAllPropertiesContext(ctx, unit)
			got := fmt.Sprint(all[property])
			return got, got == want, err
		})
}

// waitGone waits until systemd has no unit left that matches the pattern, not even
// a failed one.
func waitGone(t testing.TB, g *vmtest.Guest, pattern string) {
	t.Helper()
	waitSystemd(t, g, "all units "+pattern+" to be gone",
		func(ctx context.Context, systemd *dbus.Conn) (string, bool, error) {
			units, err := systemd.ListUnitsByPatternsContext(ctx, nil, []string{pattern})
			var left []string
			for _, u := range units {
				left = append(left, u.Name+" "+u.ActiveState)
			}
			return strings.Join(left, ", "), len(left) == 0, err
		})
}

// waitSystemd calls look until it reports that it is done, for patience at most.
func waitSystemd(t testing.TB, g *vmtest.Guest, what string, look func(context.Context, *dbus.Conn) (state string, ok bool, err error)) {
	t.Helper()
	ctx, cancel := vmtest.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, g.Machine.WaitSystemd(ctx, look), "wait for %s", what)
}

// A wait for a guest that goes away reports that, and not the error of D-Bus.
func TestWaitForAGuestThatGoes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, ends, want string }{
		{"agent", "systemctl kill --signal=KILL vmtest-agent.service", "closed the link"},
		{"guest", "systemctl poweroff --force --force", "the guest powered off"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := vmtest.Start(t, vmtest.Config{})
			// Later, so that it happens during the wait and not before it.
			g.Run(t, "systemd-run", "--on-active=1s", "sh", "-c", test.ends)
			err := g.Machine.Unit("multi-user.target").Wait(t.Context(), "inactive")
			var gone *vmtest.GuestError
			require.ErrorAs(t, err, &gone)
			assert.ErrorContains(t, err, test.want)
		})
	}
}

// systemd signals a change of a unit under its own name alone.
func TestWaitByAlias(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/alias")
	g.EnableNow(t, "demo-real.service")
	g.Unit("demo-alias.service").Wait(t, "active")
	// Later, so that the wait has looked by then and needs the signal.
	g.Run(t, "sh", "-c", "(sleep 1; echo >/run/demo-real) >/dev/null 2>&1 &")
	ctx, cancel := vmtest.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	assert.NoError(t, g.Machine.Unit("demo-alias.service").Wait(ctx, "inactive"))
}
