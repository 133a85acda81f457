package scenarios

import (
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// The typed state of a unit says the same as systemctl show. See
// org.freedesktop.systemd1(5), Service Unit Objects and Socket Unit Objects.
func TestUnitState(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/guide")
	socket := g.Unit(echoSocket)
	socket.Start(t)
	first, second := connect(t, g, "tcp", echoAddress), connect(t, g, "tcp", echoAddress)
	first.echo(t, "one")
	second.echo(t, "two")

	s := socket.State(t)
	assert.Equal(t, "demo-echo.socket is active (listening), result success, NAccepted 2, NConnections 2, NRefused 0", s.String())
	assert.Equal(t, []vmtest.ListenAddress{{Type: "Stream", Address: echoAddress}}, s.Listen)
	shown := socket.Show(t, "InvocationID", "UnitFileState", "NAccepted", "Listen")
	assert.Equal(t, shown, map[string]string{
		"InvocationID": s.InvocationID, "UnitFileState": s.UnitFileState,
		"NAccepted": strconv.Itoa(s.NAccepted), "Listen": s.Listen[0].String(),
	})

	instances := g.Unit(echoTemplate).Instances(t)
	require.Len(t, instances, 2)
	i := instances[0]
	assert.Equal(t, "running", i.SubState)
	assert.Equal(t, strconv.Itoa(i.MainPID), show(t, g, i.Name, "MainPID"))
	assert.Regexp(t, regexp.MustCompile("^[0-9a-f]{32}$"), i.InvocationID)
	assert.Equal(t, -1, i.ExitCode, "it runs")
	assert.Positive(t, i.MemoryCurrent)
	assert.Equal(t, 1, i.TasksCurrent)
	assert.Greater(t, i.CPUUsage, time.Duration(0))
	if memoryPeak.of(g) {
		assert.GreaterOrEqual(t, i.MemoryPeak, i.MemoryCurrent)
	} else {
		assert.Equal(t, int64(-1), i.MemoryPeak)
	}
	assert.Contains(t, socket.Status(t), "Accepted: 2; Connected: 2")
}

// How a service ended, and how often it was started again.
func TestUnitStateOfAnEnd(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/verbs")
	u := g.Unit("running.service")
	u.Start(t)
	u.Kill(t, syscall.SIGKILL)
	u.Wait(t, "failed")
	s := u.State(t)
	assert.Equal(t, "running.service is failed (failed), result signal, signal KILL", s.String())
	assert.Zero(t, s.MainPID)
	assert.Contains(t, u.Status(t), "code=killed, status=9/KILL", "of a unit that has failed")
	require.Error(t, g.Machine.Unit("failing.service").Start(t.Context()))
	assert.Equal(t, 1, g.Unit("failing.service").State(t).ExitCode)
}

// Any property is there in its own type, and one that the guest's systemd does not have is
// an error that says so.
func TestUnitProperty(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/guide")
	u := g.Unit(echoSocket)
	u.Start(t)
	var addresses []vmtest.ListenAddress
	u.Property(t, "Listen", &addresses)
	assert.Equal(t, []vmtest.ListenAddress{{Type: "Stream", Address: echoAddress}}, addresses)
	var triggers []string
	u.Property(t, "Before", &triggers)
	assert.Contains(t, triggers, "sockets.target")
	var most int
	u.Property(t, "MaxConnections", &most)
	assert.Equal(t, 64, most)
	var accept bool
	u.Property(t, "Accept", &accept)
	assert.True(t, accept)

	err := g.Machine.Unit(echoSocket).Property(t.Context(), "Acept", &accept)
	var unknown *vmtest.PropertyError
	require.ErrorAs(t, err, &unknown)
	assert.Equal(t, g.Machine.Image().SystemdVersion, unknown.Version)
	assert.ErrorContains(t, err, `read Acept of demo-echo.socket: demo-echo.socket has no property "Acept": systemd `)
	peak := g.Machine.Unit("systemd-journald.service").Property(t.Context(), "MemoryPeak", new(uint64))
	assert.Equal(t, memoryPeak.of(g), peak == nil, "%v", peak)

	for _, name := range []string{"no-such.service", "no-such@1.service"} {
		none := g.Machine.Unit(name)
		assert.ErrorIs(t, none.Property(t.Context(), "MainPID", new(int)), vmtest.ErrNoUnit)
		_, err = none.State(t.Context())
		assert.ErrorIs(t, err, vmtest.ErrNoUnit)
		_, err = none.Status(t.Context())
		assert.ErrorIs(t, err, vmtest.ErrNoUnit)
		assert.ErrorIs(t, none.Start(t.Context()), vmtest.ErrNoUnit)
	}
	assert.Empty(t, g.Unit("no-such@.service").Instances(t))
}
