package scenarios

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A fork has the time of the host, and its monotonic clock does not go back.
func TestForkTime(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	// The guest reads its clock between the two reads of the host's clock. The
	// closest pair of several counts, because a busy host delays the others.
	best := time.Hour
	var off time.Duration
	for range 5 {
		before := time.Now()
		nanos, err := strconv.ParseInt(strings.TrimSpace(g.Run(t, "date", "+%s%N")), 10, 64)
		after := time.Now()
		require.NoError(t, err)
		if width := after.Sub(before); width < best {
			best = width
			guest := time.Unix(0, nanos)
			off = max(0, before.Sub(guest), guest.Sub(after))
		}
	}
	assert.LessOrEqual(t, off, 50*time.Millisecond, "difference between the clocks of the guest and the host")

	uptime := func() float64 {
		s, err := strconv.ParseFloat(strings.Fields(g.Run(t, "cat", "/proc/uptime"))[0], 64)
		require.NoError(t, err)
		return s
	}
	first := uptime()
	assert.GreaterOrEqual(t, uptime(), first)
}

// Forks of one snapshot have different random numbers.
func TestForksAreUnique(t *testing.T) {
	t.Parallel()
	seen := make(map[string]int)
	for i := range 3 {
		g := vmtest.Start(t, vmtest.Config{})
		for range 4 {
			for _, id := range []string{
				g.Run(t, "cat", "/proc/sys/kernel/random/uuid"),
				g.Run(t, "od", "-An", "-tx8", "-N16", "/dev/urandom"),
			} {
				before, again := seen[id]
				assert.False(t, again, "fork %d returned %q, as fork %d did", i, id, before)
				seen[id] = i
			}
		}
	}
}

// No other fork sees the files that a fork writes, whether it began before or after.
func TestForksAreIsolated(t *testing.T) {
	t.Parallel()
	a, b := vmtest.Start(t, vmtest.Config{}), vmtest.Start(t, vmtest.Config{})
	a.WriteFile(t, "/etc/only-in-a", []byte("a"), 0o644)
	a.WriteFile(t, "/run/only-in-a", []byte("a"), 0o644)
	c := vmtest.Start(t, vmtest.Config{})
	for _, g := range []*vmtest.Guest{b, c} {
		r := g.Exec(t, vmtest.Command{Args: []string{"ls", "/etc/only-in-a", "/run/only-in-a"}})
		assert.Empty(t, string(r.Stdout))
		assert.NotZero(t, r.ExitCode)
	}
}

// A fork is a healthy system. Its journal shows no damage, and a timer elapses.
func TestForkIsHealthy(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	assertRunning(t, g)
	for _, e := range g.Journal(t, vmtest.JournalQuery{}) {
		for _, sign := range []string{"corrupted", "uncleanly", "soft lockup", "rcu_sched", "hung task", "Call Trace", "clocksource: timekeeping watchdog"} {
			assert.NotContains(t, e.Message, sign)
		}
	}
	g.Run(t, "systemd-run", "--on-active=1s", "--unit=alarm", "--timer-property=AccuracySec=1ms", "logger", "the alarm rang")
	g.WaitJournal(t, vmtest.JournalQuery{Unit: "alarm.service"}, func(e vmtest.Entry) bool { return e.Message == "the alarm rang" })
}

// A fork has the host name of its Config.
func TestForkHostname(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{Hostname: "fork-7.example"})
	assert.Equal(t, "fork-7.example\n", g.Run(t, "uname", "-n"), "host name of the fork")
}

// prepared makes a machine with a file and a running service.
var prepared = vmtest.Template{
	Prepare: func(ctx context.Context, m *vmtest.Machine) error {
		if err := m.WriteFile(ctx, "/etc/prepared", []byte("yes"), 0o644); err != nil {
			return err
		}
		_, err := m.Run(ctx, "systemd-run", "--unit=lasting", "sleep", "infinity")
		return err
	},
}

// The forks of a template have its files and running processes, but none of the changes
// of other forks.
func TestTemplate(t *testing.T) {
	t.Parallel()
	a, b := prepared.Start(t), prepared.Start(t)
	pids := make(map[string]bool)
	for _, g := range []*vmtest.Guest{a, b} {
		assert.Equal(t, "yes", string(g.ReadFile(t, "/etc/prepared")))
		show := g.Unit("lasting.service").Show(t, "ActiveState", "MainPID")
		assert.Equal(t, "active", show["ActiveState"])
		pids[show["MainPID"]] = true
		g.WriteFile(t, "/etc/prepared", []byte("changed"), 0o644)
	}
	assert.Len(t, pids, 1, "process IDs of the service in the forks")

	snapshot, err := a.Machine.Snapshot(t.Context())
	require.NoError(t, err)
	defer snapshot.Close()
	assert.Equal(t, "changed", string(snapshot.Start(t, vmtest.ForkConfig{}).ReadFile(t, "/etc/prepared")))
}

// The error of a Prepare that fails has evidence from the machine, as a failed test has.
func TestTemplateError(t *testing.T) {
	t.Parallel()
	template := vmtest.Template{Prepare: func(ctx context.Context, m *vmtest.Machine) error {
		_, err := m.Run(ctx, "systemd-run", "--unit=bad", "--property=Type=oneshot", "false")
		return err
	}}
	_, err := template.Launch(t.Context())
	require.ErrorContains(t, err, "prepare template: run systemd-run")
	assert.ErrorContains(t, err, "bad.service failed once: status 1/FAILURE")
	assert.ErrorContains(t, err, "bad.service: Failed with result 'exit-code'.")
}
