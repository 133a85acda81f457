package scenarios

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// runFor runs a shell command that is expected to outlast its time.
func runFor(t *testing.T, g *vmtest.Guest, limit time.Duration, script string) error {
	t.Helper()
	ctx, cancel := vmtest.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := g.Machine.Run(ctx, "sh", "-c", script)
	return err
}

// A command that takes longer than it may is an error that says once how long that was,
// and who answers.
func TestCommandOutlastsItsDeadline(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	err := runFor(t, g, time.Second, "sleep 98765")
	assert.Regexp(t, `^run sh -c 'sleep 98765': not done within \S+ \(.*\); the agent answered in \S+, PID 1 answered in \S+$`, err.Error())
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel := vmtest.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = g.Machine.Unit("basic.target").Wait(ctx, "inactive")
	assert.ErrorContains(t, err, "not done within ")
	assert.ErrorContains(t, err, "the agent answered in ")
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel = vmtest.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err = g.Machine.WriteFile(ctx, "/run/large", make([]byte, 32<<20), 0o644)
	require.Error(t, err)
	assert.Equal(t, 1, strings.Count(err.Error(), "not done within "), "%v", err)
}

// A guest whose agent does not answer is a *GuestError that says how busy its processor
// was meanwhile.
func TestStuckGuest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, script string
		busy         bool
	}{
		// sched(7): a FIFO thread that never sleeps has the processor for itself, but
		// for what the kernel keeps back for others. Kernels from 6.12 on have a fair
		// server that does so too.
		{"spinning", `
			echo -1 >/proc/sys/kernel/sched_rt_runtime_us
			mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
			for f in /sys/kernel/debug/sched/fair_server/*/runtime; do test ! -e $f || echo 0 >$f; done
			exec chrt --fifo 99 sh -c 'while :; do :; done'`, true},
		{"idle", "kill -STOP $PPID; sleep 98765", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := vmtest.Start(t, vmtest.Config{})
			err := runFor(t, g, 3*time.Second, test.script)
			var guest *vmtest.GuestError
			require.ErrorAs(t, err, &guest)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			found := regexp.MustCompile(`; the agent did not answer within \S+; the guest's processor was busy for (\S+) of (\S+)`).FindStringSubmatch(err.Error())
			require.NotNil(t, found, "%v", err)
			busy, err := time.ParseDuration(found[1])
			require.NoError(t, err)
			during, err := time.ParseDuration(found[2])
			require.NoError(t, err)
			assert.Equal(t, test.busy, busy > during/2, "%v", found)
		})
	}
}

// A guest whose PID 1 does not answer is reported as that, not as well. Its agent still
// copies files and yields evidence. See cgroups(7) for what stops PID 1.
func TestPID1DoesNotAnswer(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	g.Run(t, "sh", "-c", freezePID1)
	err := runFor(t, g, time.Second, "systemctl start basic.target")
	require.Error(t, err)
	assert.Regexp(t, `the agent answered in \S+, PID 1 did not within \S+`, err.Error())
	assert.False(t, errors.As(err, new(*vmtest.GuestError)))
	g.WriteFile(t, "/run/written", []byte("text"), 0o644)
}

// A guest that sleeps is reported as paused.
func TestGuestSleeps(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	err := runFor(t, g, patience, "echo mem >/sys/power/state")
	assert.ErrorContains(t, err, `the guest is paused: QEMU's status is "suspended"`)
}

// A QEMU that is stopped by a signal is reported as that. The guest goes on with it.
func TestStoppedQEMU(t *testing.T) { // not parallel, because it finds its QEMU among all
	hostSide(t)
	before := children(t)
	g := vmtest.Start(t, vmtest.Config{})
	var ours []int
	for _, child := range children(t) {
		if !slices.Contains(before, child) {
			pid, err := strconv.Atoi(child)
			require.NoError(t, err)
			ours = append(ours, pid)
		}
	}
	require.Len(t, ours, 1)
	require.NoError(t, syscall.Kill(ours[0], syscall.SIGSTOP))
	err := runFor(t, g, time.Second, "true")
	require.NoError(t, syscall.Kill(ours[0], syscall.SIGCONT))
	var guest *vmtest.GuestError
	require.ErrorAs(t, err, &guest)
	assert.ErrorContains(t, err, "QEMU is stopped by a signal or a debugger (kill -CONT "+strconv.Itoa(ours[0])+" resumes it)")
	g.Run(t, "true")
}

// A command that the kernel kills for lack of memory says so, if it is the guest's memory
// or that of a control group. The agent and other services live on.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	for _, text := range []string{"Memory cgroup out of memory: Killed process", "Out of memory: Killed process"} {
		g.AnnounceEntry(t, vmtest.JournalQuery{Match: []string{"_TRANSPORT=kernel"}, Contains: text})
	}
	if oomFailsScope.of(g) {
		g.AnnounceFailure(t, "hungry.scope")
	}
	for _, args := range [][]string{
		{"systemd-run", "--quiet", "--scope", "--unit=hungry", "--property=MemoryMax=32M", "tail", "/dev/zero"},
		{"sh", "-c", "dd if=/dev/zero of=/dev/null bs=440M; exit $?"},
	} {
		_, err := g.Machine.Run(t.Context(), args...)
		var exit *vmtest.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Regexp(t, `; the guest's kernel killed process \d+ \((tail|dd)\) for lack of memory`, err.Error())
	}
	failed, err := g.Systemd(t).ListUnitsByPatternsContext(t.Context(), []string{"failed"}, []string{"*.service"})
	require.NoError(t, err)
	assert.Empty(t, failed, "failed services")

	// Neither an earlier kill nor text that a unit prints is the reason of a later one.
	_, err = g.Machine.Run(t.Context(), "sh", "-c",
		`echo "Out of memory: Killed process 7 (fake) total-vm:1kB" | tee /dev/console >/dev/kmsg; kill -KILL $$`)
	require.Error(t, err)
	assert.Regexp(t, `: signal KILL$`, err.Error())
}
