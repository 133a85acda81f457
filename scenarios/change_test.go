package scenarios

import (
	"io/fs"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A masked unit cannot be started, and what has failed is forgotten when asked to. See
// systemctl(1), mask and reset-failed.
func TestMaskAndReset(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/verbs")
	const journal = "systemd-journal-flush.service" // has its file below /usr
	mask := vmtest.UnitFileChange{Type: "symlink", Path: unitFile(g, journal), Target: "/dev/null"}
	assert.Equal(t, []vmtest.UnitFileChange{mask}, g.Mask(t, journal))
	assert.Equal(t, "masked", g.Unit(journal).State(t).LoadState)
	g.Unit(journal).Stop(t)
	assert.ErrorContains(t, g.Machine.Unit(journal).Start(t.Context()), "is masked")
	assert.Equal(t, []vmtest.UnitFileChange{{Type: "unlink", Path: mask.Path}}, g.Unmask(t, journal))
	g.Unit(journal).Start(t)
	_, err := g.Machine.Mask(t.Context(), "running.service")
	assert.ErrorContains(t, err, "already exists", "as it does to systemctl")

	failing := g.Unit("failing.service")
	require.Error(t, g.Machine.Unit("failing.service").Start(t.Context()))
	assert.Equal(t, "failed", failing.State(t).ActiveState)
	failing.ResetFailed(t)
	assert.Equal(t, "inactive", failing.State(t).ActiveState)
	assert.ErrorIs(t, g.Machine.Unit("no-such.service").ResetFailed(t.Context()), vmtest.ErrNoUnit)
}

// Units without files, and properties that change while a unit runs. See
// org.freedesktop.systemd1(5), StartTransientUnit and SetUnitProperties.
func TestTransientUnit(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	run := func(args ...string) dbus.Property { return dbus.PropExecStart(args, false) }
	bin := g.Machine.Image().BinDir()
	u := g.StartTransient(t, "sleeper.service", run(bin+"/sleep", "infinity"), dbus.PropDescription("Sleeps"))
	assert.Equal(t, "running", u.State(t).SubState)
	u.SetProperties(t, dbus.Property{Name: "TasksMax", Value: godbus.MakeVariant(uint64(7))})
	var most int
	u.Property(t, "TasksMax", &most)
	assert.Equal(t, 7, most)
	assert.Contains(t, string(g.ReadFile(t, "/run/systemd/transient/sleeper.service")), "Description=Sleeps")

	unit := g.Machine.Unit("sleeper.service")
	err := unit.SetProperties(t.Context(), dbus.Property{Name: "TasksMost", Value: godbus.MakeVariant(uint64(7))})
	assert.ErrorAs(t, err, new(*vmtest.PropertyError))
	err = unit.SetProperties(t.Context(), dbus.Property{Name: "MainPID", Value: godbus.MakeVariant(uint32(7))})
	assert.ErrorContains(t, err, "set properties of sleeper.service: Cannot set property MainPID")
	_, err = g.Machine.StartTransient(t.Context(), "sleeper.service", run(bin+"/true"))
	assert.ErrorContains(t, err, "start sleeper.service: Unit sleeper.service")

	oneshot := dbus.PropType("oneshot")
	_, err = g.Machine.StartTransient(t.Context(), "fails.service", run(bin+"/false"), oneshot)
	e := unitError(t, err)
	assert.Equal(t, "failed", e.JobResult)
	assert.Equal(t, 1, e.ExitCode)
	g.StartTransient(t, "ends.service", run(bin+"/true"), oneshot)
	_, err = g.Machine.Unit("ends.service").State(t.Context())
	assert.ErrorIs(t, err, vmtest.ErrNoUnit, "it has ended")
	u.Stop(t)
}

// What a unit's file says is in force after a daemon-reload, and not before. See
// systemctl(1), daemon-reload.
func TestDaemonReload(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/verbs")
	u := g.Unit("running.service")
	u.Start(t)
	before := show(t, g, u.Name(), "Description")
	g.Run(t, "sh", "-c", `printf '[Unit]\nDescription=changed\n' >>"$1"`, "sh", unitFile(g, u.Name()))
	assertShow(t, g, u.Name(), properties{"Description": before})
	g.DaemonReload(t)
	assert.Equal(t, "changed", show(t, g, u.Name(), "Description"), "Description of %s after DaemonReload", u.Name())
	assert.Equal(t, "running", u.State(t).SubState)
}

// A drop-in is in force when the call returns, and gone when it is removed. One that systemd
// refuses is an error. See systemd.unit(5), drop-ins.
func TestDropIn(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/verbs")
	u := g.Unit("running.service")
	u.Start(t)
	var most int
	u.WriteDropIn(t, "10-limits.conf", "[Service]\nTasksMax=9\n")
	u.Property(t, "TasksMax", &most)
	assert.Equal(t, 9, most)
	u.WriteDropIn(t, "10-limits.conf", "[Service]\nTasksMax=8\n")
	u.Property(t, "TasksMax", &most)
	assert.Equal(t, 8, most)
	u.RemoveDropIn(t, "10-limits.conf")
	u.Property(t, "TasksMax", &most)
	assert.Greater(t, most, 9)
	assert.Equal(t, "running", u.State(t).SubState)

	unit := g.Machine.Unit("running.service")
	assert.ErrorIs(t, unit.RemoveDropIn(t.Context(), "10-limits.conf"), fs.ErrNotExist)
	err := unit.WriteDropIn(t.Context(), "20-bad.conf", "[Service]\nExecStart=\n")
	assert.ErrorContains(t, unitError(t, err), "write drop-in 20-bad.conf of running.service: the unit is bad-setting: ")
	assert.ErrorIs(t, g.Machine.Unit("no-such.service").WriteDropIn(t.Context(), "a.conf", ""), vmtest.ErrNoUnit)

	user := g.AddUser(t, vmtest.User{Name: "alice"})
	alice := g.AsUser(t, "alice")
	copyUnitsTo(t, alice, "testdata/users", user.Home+"/.config/systemd/user")
	sleep := alice.Unit("demo-user-sleep.service")
	sleep.WriteDropIn(t, "a.conf", "[Unit]\nDescription=Of alice\n")
	var description string
	sleep.Property(t, "Description", &description)
	assert.Equal(t, "Of alice", description)
	assert.Equal(t, "alice\n", g.Run(t, "stat", "-c", "%U", user.Home+"/.config/systemd/user/demo-user-sleep.service.d/a.conf"))
}
