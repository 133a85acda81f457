package scenarios

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// unitError returns err as the error of a unit.
func unitError(t testing.TB, err error) *vmtest.UnitError {
	t.Helper()
	var e *vmtest.UnitError
	require.ErrorAs(t, err, &e, "what was asked of a unit that fails returned no error of the unit")
	return e
}

// What a unit is asked to do is done when the call returns.
func TestUnitVerbs(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/verbs")
	u := g.Unit("running.service")
	u.Start(t)
	assertShow(t, g, u.Name(), properties{"ActiveState": "active", "SubState": "running"})
	pid := u.State(t).MainPID
	u.Start(t)
	assert.Equal(t, pid, u.State(t).MainPID, "a start of an active unit")
	u.Reload(t)
	g.Run(t, "test", "-e", "/run/reloaded")
	u.Restart(t)
	assert.NotEqual(t, pid, u.State(t).MainPID, "a restart")

	u.Kill(t, syscall.SIGKILL)
	err := g.Machine.Unit(u.Name()).Wait(t.Context(), "inactive")
	assert.Equal(t, "signal", unitError(t, err).Result)
	assert.Equal(t, "KILL", unitError(t, err).Signal)
	assert.Equal(t, -1, unitError(t, err).ExitCode)
	err = g.Machine.Unit(u.Name()).Kill(t.Context(), syscall.SIGTERM)
	assert.ErrorContains(t, err, "kill running.service: ", "nothing is left to kill")

	u.Start(t)
	u.Stop(t)
	assertShow(t, g, u.Name(), properties{"ActiveState": "inactive"})
	u.Stop(t)
}

// A verb that comes to nothing says why.
func TestUnitVerbsFail(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/verbs")
	start := func(unit string) *vmtest.UnitError {
		err := g.Machine.Unit(unit).Start(t.Context())
		t.Log(err)
		return unitError(t, err)
	}

	e := start("conditional.service")
	assert.ErrorContains(t, e, "start conditional.service: it did not start because a condition was false")
	assert.ErrorContains(t, e, "ConditionPathExists=!/etc/os-release")

	e = start("asserted.service")
	assert.Equal(t, "assert", e.JobResult)

	e = start("needs-failing.service")
	assert.Equal(t, "dependency", e.JobResult)
	assert.Equal(t, -1, e.ExitCode)
	assert.ErrorContains(t, e, "Dependency failed for")

	e = start("failing.service")
	assert.Equal(t, "failed", e.JobResult)
	assert.Equal(t, "failed", e.ActiveState)
	assert.Equal(t, "exit-code", e.Result)
	assert.Equal(t, 1, e.ExitCode)

	e = start("no-such.service")
	assert.ErrorContains(t, e, "start no-such.service: Unit no-such.service not found.")

	g.Unit("running.service").Start(t) // it keeps conditional.service loaded
	e = start("conditional.service")
	assert.Equal(t, []string{"ConditionPathExists=!/etc/os-release"}, e.Unmet)

	e = start("refused.socket")
	assert.Equal(t, "failed", e.JobResult)
	assert.ErrorContains(t, e, "already active, refusing")

	// The line that decides comes from a process that systemd forks to listen.
	e = start("group.socket")
	assert.Equal(t, "failed", e.JobResult)
	assert.ErrorContains(t, e, "no-such-group")

	ctx, cancel := vmtest.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := g.Machine.Unit("needs-device.service").Start(ctx)
	t.Log(err)
	e = unitError(t, err)
	if assert.Len(t, e.Jobs, 1) {
		assert.Equal(t, "waiting", e.Jobs[0].State)
		if assert.Len(t, e.Jobs[0].After, 1) {
			assert.Equal(t, "dev-nothing.device", e.Jobs[0].After[0].Unit)
		}
	}
	assert.ErrorContains(t, e, "which waits for job ")
}
