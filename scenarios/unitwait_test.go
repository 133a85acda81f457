package scenarios

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// Waits for counters and instances end with what they wait for, or with why it does not
// come. See systemd.socket(5), Accept= and MaxConnections=.
func TestWaitForCounters(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/waits")
	socket, template := g.Unit("few.socket"), g.Unit("few@.service")
	socket.Start(t)
	later := func(do func()) { time.AfterFunc(time.Second, do) } // so that the wait has looked before
	first := g.Dial(t, "unix", "/run/few.sock")
	socket.WaitProperty(t, "NConnections", 1)
	template.WaitInstances(t, 1)
	later(func() { first.Close() })
	socket.WaitProperty(t, "NConnections", 0)
	template.WaitInstances(t, 0)

	later(func() { first = g.Dial(t, "unix", "/run/few.sock") })
	s := socket.WaitState(t, func(s vmtest.UnitState) bool { return s.NAccepted == 2 })
	assert.Equal(t, 1, s.NConnections)
	later(func() { g.Dial(t, "unix", "/run/few.sock") })
	socket.WaitProperty(t, "NRefused", 1)

	wait := func(property string, want any) error {
		return g.Machine.Unit("few.socket").WaitProperty(t.Context(), property, want)
	}
	err := wait("NAccepted", 1)
	require.ErrorIs(t, err, vmtest.ErrStateUnreachable)
	assert.ErrorContains(t, err, "wait for NAccepted of few.socket to be 1: it only grows; NAccepted is 2")
	assert.ErrorAs(t, wait("NAcepted", 1), new(*vmtest.PropertyError))

	socket.Stop(t)
	later(func() { first.Close() })
	socket.WaitProperty(t, "NConnections", 0) // a stop leaves connections open
	assert.ErrorIs(t, wait("NConnections", 1), vmtest.ErrStateUnreachable)
	err = g.Machine.Unit("few@.service").WaitInstances(t.Context(), 1)
	assert.ErrorIs(t, err, vmtest.ErrStateUnreachable)
	var failed *vmtest.UnitError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, []string{"wait", "few@.service", "1"}, []string{failed.Op, failed.Unit, failed.Want})
	assert.Contains(t, strings.Join(failed.Journal, "\n"), "Reads from a connection", "of the instances that there were")
	assert.ErrorContains(t, err, "wait for 1 instances of few@.service: nothing will start more: few.socket is inactive; there are none\n")

	service := g.Unit("slow.service") // of a user who thinks in time spans
	service.WriteDropIn(t, "10-stop.conf", "[Service]\nTimeoutStopSec=5s\n")
	service.WaitProperty(t, "TimeoutStopUSec", 5*time.Second)
	service.ExpectProperty(t, "TimeoutStopUSec", 5*time.Second)
	service.ExpectProperty(t, "TimeoutStopUSec", 5_000_000)
	var stop time.Duration
	service.Property(t, "TimeoutStopUSec", &stop)
	assert.Equal(t, 5*time.Second, stop)
	err = g.Machine.Unit("slow.service").ExpectProperty(t.Context(), "TimeoutStopUSec", 5*time.Millisecond)
	assert.EqualError(t, err, "TimeoutStopUSec of slow.service is 5s, want 5ms")
	var unequal *vmtest.UnequalError
	require.ErrorAs(t, err, &unequal)
	assert.Equal(t, 5*time.Second, unequal.Got)
}

func TestWaitSettled(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/waits")
	systemctl(t, g, "start", "--no-block", "slow.service")
	assert.Equal(t, "exited", g.Unit("slow.service").WaitSettled(t).SubState)
	systemctl(t, g, "restart", "--no-block", "slow.service")
	u := g.Machine.Unit("slow.service")
	_, err := u.WaitState(t.Context(), func(s vmtest.UnitState) bool { return s.ActiveState == "activating" })
	require.NoError(t, err)
	s, err := u.WaitSettled(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "slow.service is active (exited), result success", s.String())
	_, err = g.Machine.Unit("no-such.service").WaitSettled(t.Context())
	assert.ErrorIs(t, err, vmtest.ErrNoUnit)

	// The error of a wait whose time is over has what it saw last.
	ctx, cancel := vmtest.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = u.WaitProperty(ctx, "NRestarts", 7)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "wait for NRestarts of slow.service to be 7: ")
	assert.ErrorContains(t, err, "; NRestarts is 0; it is active (exited)")
}

// The waits for properties and instances go on after a systemd that re-executes itself.
func TestUnitWaitsOutliveReexec(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/waits")
	g.Unit("few.socket").Start(t)
	conn := g.Dial(t, "unix", "/run/few.sock")
	g.Unit("few@.service").WaitInstances(t, 1)
	ctx, cancel := vmtest.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	counter, instances, state := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { counter <- g.Machine.Unit("few.socket").WaitProperty(ctx, "NConnections", 0) }()
	go func() { instances <- g.Machine.Unit("few@.service").WaitInstances(ctx, 0) }()
	go func() {
		_, err := g.Machine.Unit("few.socket").WaitState(ctx, func(s vmtest.UnitState) bool { return s.NConnections == 0 })
		state <- err
	}()
	systemctl(t, g, "daemon-reexec")
	g.Unit("few.socket").Wait(t, "listening")
	for _, wait := range []chan error{counter, instances, state} {
		assert.Empty(t, wait, "the wait ended")
	}
	conn.Close()
	for _, wait := range []chan error{counter, instances, state} {
		assert.NoError(t, <-wait)
	}
}
