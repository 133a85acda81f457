package scenarios

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/proc"
	"example.org/systemd-vmtest/vmtest"
)

// A wait ends at once when the state cannot come by itself, and says what it saw.
func TestWaitsThatCannotComeTrue(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/verbs")
	wait := func(unit, state, want string) error {
		t.Helper()
		ctx, cancel := vmtest.WithTimeout(t.Context(), patience)
		defer cancel()
		err := g.Machine.Unit(unit).Wait(ctx, state)
		t.Log(err)
		assert.ErrorContains(t, err, want)
		assert.NotErrorIs(t, err, context.DeadlineExceeded)
		return err
	}
	startFails := func(unit string) {
		t.Helper()
		err := g.Machine.Unit(unit).Start(t.Context())
		assert.Equal(t, "failed", unitError(t, err).JobResult, "%v", err)
	}
	const nothing = ": nothing will start it: it has no job, and nothing that is active triggers it; it is inactive (dead)"
	wait("ended.service", "active", nothing)
	g.Unit("ended.service").Start(t)
	wait("ended.service", "active", nothing)
	err := wait("timed.service", "active", nothing) // the timer is not active
	assert.ErrorIs(t, err, vmtest.ErrStateUnreachable)
	wait("ended.service", "runing", `no service has the state "runing"; nearest: running`)
	wait("no-such.service", "active", ": there is no such unit; it is inactive (dead)")

	g.Unit("running.service").Start(t) // it keeps conditional.service loaded
	err = g.Machine.Unit("conditional.service").Start(t.Context())
	assert.Equal(t, []string{"ConditionPathExists=!/etc/os-release"}, unitError(t, err).Unmet, "%v", err)
	wait("conditional.service", "active", "; false at its last start: ConditionPathExists=!/etc/os-release")
	startFails("refused.socket")
	wait("refused.socket", "listening", "already active, refusing")

	g.Unit("kept.service").Start(t)
	wait("kept.service", "running", ": nothing will change it: it has no job; it is active (exited)")

	startFails("group.socket")
	wait("group.socket", "listening", "no-such-group")
}

// A wait for a unit that something may still start goes on, and names what that is.
func TestWaitForATimer(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/verbs")
	g.Unit("timed.timer").Start(t)
	ctx, cancel := vmtest.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := g.Machine.Unit("timed.service").Wait(ctx, "active")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "it has no job, and may still be started by timed.timer (waiting)")
}

// Waits for a unit that is not loaded leave PID 1 alone.
func TestWaitsRest(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	busy := func(wait func(context.Context) error) time.Duration {
		t.Helper()
		before := busyPID1(t, g)
		ctx, cancel := vmtest.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		require.ErrorIs(t, wait(ctx), context.DeadlineExceeded)
		return busyPID1(t, g) - before
	}
	const most = 1500 * time.Millisecond // with the two commands that measure it
	assert.Less(t, busy(func(ctx context.Context) error {
		return g.Machine.Unit("dev-nothing.device").Wait(ctx, "plugged")
	}), most, "processor time of PID 1 in a wait for a device")
	assert.Less(t, busy(func(ctx context.Context) error {
		return g.Machine.WaitSystemd(ctx, func(ctx context.Context, systemd *dbus.Conn) (string, bool, error) {
			p, err := systemd.GetUnitPropertiesContext(ctx, "no-such.service")
			return "", p["ActiveState"] == "active", err
		})
	}), most, "processor time of PID 1 in a wait for a property of a unit that is not loaded")
}

// busyPID1 returns the processor time that PID 1 has used.
func busyPID1(t testing.TB, g *vmtest.Guest) time.Duration {
	t.Helper()
	stat, err := proc.ParseStat([]byte(g.Run(t, "cat", "/proc/1/stat")))
	require.NoError(t, err)
	return stat.Ran
}

// A systemd that re-executes itself closes its connections. That is not the end of what
// is waited for.
func TestWaitsOutliveReexec(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/alias")
	g.Unit("demo-real.service").Start(t)
	unit, watch := make(chan error, 1), make(chan error, 1)
	ctx, cancel := vmtest.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	go func() { unit <- g.Machine.Unit("demo-real.service").Wait(ctx, "inactive") }()
	go func() {
		watch <- g.Machine.WaitSystemd(ctx, func(ctx context.Context, systemd *dbus.Conn) (string, bool, error) {
			units, err := systemd.ListUnitsByPatternsContext(ctx, []string{"active"}, []string{"demo-real.service"})
			return "there", len(units) == 0, err
		})
	}()
	systemctl(t, g, "daemon-reexec")
	g.Unit("demo-real.service").Wait(t, "active") // connects while systemd does not listen
	assert.Empty(t, unit, "the wait ended")
	assert.Empty(t, watch, "the wait ended")
	g.Run(t, "sh", "-c", "echo >/run/demo-real")
	assert.NoError(t, <-unit)
	assert.NoError(t, <-watch)
}

// A unit whose failure makes the guest reboot ends the calls that wait for it with that.
func TestWaitForAGuestThatReboots(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/verbs")
	err := g.Machine.Unit("resets.service").Start(t.Context())
	var gone *vmtest.GuestError
	require.ErrorAs(t, err, &gone)
	assert.ErrorContains(t, err, "the guest rebooted")
}

// The states that a wait takes are those that systemd has, in any version.
func TestWaitTakesAllStates(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	known := ""
	states := 0
	for line := range strings.Lines(systemctl(t, g, "--state=help", "--no-pager")) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutSuffix(line, " unit substates:"); ok {
			kind := strings.TrimPrefix(title, "Available ")
			err := g.Machine.Unit("no-such."+kind).Wait(t.Context(), "no-such-state")
			require.ErrorContains(t, err, "no "+kind+` has the state "no-such-state"`)
			known = strings.ReplaceAll(err.Error(), ",", "") + " "
			continue
		}
		if known != "" && line != "" {
			assert.Contains(t, known, " "+line+" ")
			states++
		}
	}
	assert.GreaterOrEqual(t, states, 80, "states in systemctl --state=help: systemd 247 has 80")
}
