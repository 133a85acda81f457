package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// waitShow waits until a property of a unit has a value, written as systemctl
// show prints it.
//
// systemd announces no change of NConnections and NAccepted by itself, but it does
// so of the instances whose coming and going they count; every signal is a reason
// to look again.
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

// waitSystemd looks at first and again after each signal of the guest's systemd,
// until look says that what is waited for is there.
func waitSystemd(t testing.TB, g *vmtest.Guest, what string, look func(context.Context, *dbus.Conn) (state string, ok bool, err error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	systemd, err := g.Machine.Systemd(ctx)
	require.NoError(t, err)
	// A connection of its own, as go-systemd does not pass on all signals. It is
	// there before the first look, so that no change falls in between.
	bus, err := godbus.NewConn(g.Dial(t, "unix", "/run/systemd/private"))
	require.NoError(t, err)
	defer bus.Close()
	require.NoError(t, bus.Auth([]godbus.Auth{godbus.AuthExternal("0")}))
	signals := make(chan *godbus.Signal, 1024)
	bus.Signal(signals)
	for {
		state, ok, err := look(ctx, systemd)
		require.NoError(t, err, "wait for %s", what)
		if ok {
			return
		}
		select {
		case _, open := <-signals:
			require.True(t, open, "wait for %s: systemd closed the connection; it is %s", what, state)
		case <-ctx.Done():
			require.FailNow(t, "waited in vain", "wait for %s: not in %v; it is %s", what, patience, state)
		}
	}
}
