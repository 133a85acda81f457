package scenarios

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/lack"
	"example.org/systemd-vmtest/vmtest"
)

// An hour passes in some seconds, and what counts by the monotonic clock happens in its
// order and when it is due: timers (systemd.timer(5)), the watchdog and the start timeout
// (systemd.service(5)), and a program that sleeps.
func TestAdvance(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	needAdvance(t, g)
	g.CopyFS(t, os.DirFS("testdata/clock/hours"), "/etc/systemd/system")
	g.DaemonReload(t)
	g.AnnounceFailure(t, "silent.service")
	g.AnnounceFailure(t, "late.service")
	for _, unit := range []string{"once.timer", "often.timer", "silent.service", "alive.service", "nap.service"} {
		g.Unit(unit).Start(t)
	}
	g.Run(t, "systemctl", "--no-block", "start", "late.service")
	g.Unit("late.service").Wait(t, "activating")
	before, monotonic, began := g.Clock(t), uptime(t, g), time.Now()

	const d = time.Hour + time.Minute
	g.Advance(t, d)
	took := time.Since(began)
	t.Logf("%v passed in %v", d, took)
	assert.WithinDuration(t, before.Add(d), g.Clock(t), 5*time.Second, "wall clock")
	assert.InDelta(t, d.Seconds(), (uptime(t, g) - monotonic).Seconds(), 5, "seconds of the monotonic clock")

	g.Unit("silent.service").Wait(t, "failed")
	assert.Equal(t, "watchdog", show(t, g, "silent.service", "Result"))
	g.Unit("late.service").Wait(t, "failed")
	assert.Equal(t, "timeout", show(t, g, "late.service", "Result"))
	assert.Equal(t, "active", show(t, g, "alive.service", "ActiveState"), "state of a service that gives signs of life")
	g.Unit("nap.service").Wait(t, "inactive")
	assert.Equal(t, "success", show(t, g, "nap.service", "Result"))

	// In order, and none of them late.
	g.ExpectEntry(t, vmtest.JournalQuery{By: "once.service", Contains: "the hour is over"})
	assert.InDelta(t, 3600, monotonicOf(t, g, "once.service", "the hour is over")[0], 10, "OnBootSec=1h")
	runs := monotonicOf(t, g, "often.service", "ten minutes are over")
	require.Len(t, runs, 6, "runs in an hour of a timer of OnUnitActiveSec=10min")
	for i := range runs[1:] {
		assert.InDelta(t, 600, runs[i+1]-runs[i], 10, "seconds between two runs of OnUnitActiveSec=10min")
	}
	assert.InDelta(t, monotonic.Seconds()+300, monotonicOf(t, g, "silent.service", "Watchdog timeout")[0], 10, "WatchdogSec=5min")
	assert.InDelta(t, monotonic.Seconds()+900, monotonicOf(t, g, "late.service", "start operation timed out")[0], 10, "TimeoutStartSec=15min")
	assert.InDelta(t, monotonic.Seconds()+3600, monotonicOf(t, g, "nap.service", "awake")[0], 10, "sleep 3600")

	// The kernel complains about nothing.
	for _, e := range g.Journal(t, vmtest.JournalQuery{Match: []string{"_TRANSPORT=kernel"}}) {
		assert.False(t, e.Priority <= 4 && e.Monotonic > monotonic, "%s", e)
	}
	assert.Equal(t, "tsc\n", string(g.ReadFile(t, "/sys/devices/system/clocksource/clocksource0/current_clocksource")))
}

// Time passes on two processors as on one. A busy guest is never idle, so it gets the host's
// time only, and the call ends with its context. The guest runs on.
func TestAdvanceBusy(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{CPUs: 2})
	needAdvance(t, g)
	before := uptime(t, g)
	g.Advance(t, 10*time.Minute)
	assert.InDelta(t, 600, (uptime(t, g) - before).Seconds(), 5, "seconds of the monotonic clock")

	g.Run(t, "systemd-run", "--unit=busy", "sh", "-c", "while :; do :; done")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := g.Machine.Advance(ctx, time.Hour)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "have passed): wait until the guest's processors are idle")
	assert.Less(t, uptime(t, g)-before, 12*time.Minute)
	g.Unit("busy.service").Stop(t)

	// A snapshot begins where the clock is,.
	g.Advance(t, 24*time.Minute)
	after := uptime(t, g)
	s, err := g.Machine.Snapshot(t.Context())
	require.NoError(t, err)
	defer s.Close()
	fork := s.Start(t, vmtest.ForkConfig{Clock: utc(2028, 2, 29, 12, 0, 0)})
	assert.InDelta(t, after.Seconds(), uptime(t, fork).Seconds(), 30, "seconds since the boot, in a fork")
	assert.WithinDuration(t, utc(2028, 2, 29, 12, 0, 0), fork.Clock(t), time.Minute)
	fork.Advance(t, time.Minute)
}

// needAdvance skips a test whose guest runs on KVM.
func needAdvance(t *testing.T, g *vmtest.Guest) {
	t.Helper()
	err := g.Machine.Advance(t.Context(), 0)
	if lacks, ok := errors.AsType[*vmtest.HostError](err); ok {
		lack.Skip(t, lacks.Error())
	}
	require.NoError(t, err)
}

// uptime returns the time since the guest's boot.
func uptime(t *testing.T, g *vmtest.Guest) time.Duration {
	t.Helper()
	first, _, _ := strings.Cut(string(g.ReadFile(t, "/proc/uptime")), " ")
	d, err := time.ParseDuration(first + "s")
	require.NoError(t, err)
	return d
}

// monotonicOf returns when a unit logged a text, in seconds since the boot.
func monotonicOf(t *testing.T, g *vmtest.Guest, unit, text string) (at []float64) {
	t.Helper()
	for _, e := range g.Journal(t, vmtest.JournalQuery{Unit: unit, Contains: text}) {
		at = append(at, e.Monotonic.Seconds())
	}
	require.NotEmpty(t, at, "entries of %s with %q", unit, text)
	return at
}
