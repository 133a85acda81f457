package scenarios

import (
	"context"
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

// A command that takes longer than it may is no fault of the guest's, and the error
// says that once.
func TestCommandOutlastsItsDeadline(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	err := runFor(t, g, time.Second, "sleep 98765")
	assert.Regexp(t, `^run sh -c 'sleep 98765': not done within \S+ \(.*\); the guest is (well: its agent|slow, not wedged: its agent) answered in \S+$`, err.Error())
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel := vmtest.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = g.Machine.Unit("basic.target").Wait(ctx, "inactive")
	assert.ErrorContains(t, err, "not done within ")
	assert.ErrorContains(t, err, "its agent answered in ")
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel = vmtest.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err = g.Machine.WriteFile(ctx, "/run/large", make([]byte, 32<<20), 0o644)
	require.Error(t, err)
	assert.Equal(t, 1, strings.Count(err.Error(), "not done within "), "%v", err)
}

// A guest that no longer does what it is asked is told apart from a slow one, by what
// its processor does meanwhile.
func TestWedgedGuest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, script, says string }{
		// sched(7): a FIFO thread that never sleeps has the processor for itself, but
		// for what the kernel keeps back for others. Kernels from 6.12 on have a fair
		// server that does so too.
		{"spinning", `
			echo -1 >/proc/sys/kernel/sched_rt_runtime_us
			mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
			for f in /sys/kernel/debug/sched/fair_server/*/runtime; do test ! -e $f || echo 0 >$f; done
			exec chrt --fifo 99 sh -c 'while :; do :; done'`,
			"the guest is spinning: its processor has been busy for "},
		{"idle", "kill -STOP $PPID; sleep 98765", "the guest is idle: its processor had nothing to do for "},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := vmtest.Start(t, vmtest.Config{})
			err := runFor(t, g, 3*time.Second, test.script)
			var guest *vmtest.GuestError
			require.ErrorAs(t, err, &guest)
			assert.ErrorContains(t, err, test.says)
			assert.ErrorContains(t, err, "and its agent does not answer")
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		})
	}
}

// A guest that has gone to sleep is seen as such: nothing in it can say so.
func TestGuestSleeps(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	err := runFor(t, g, patience, "echo mem >/sys/power/state")
	assert.ErrorContains(t, err, `the guest is paused: QEMU's status is "suspended"`)
}

// A QEMU that somebody has stopped is no fault of the guest's either; once it goes
// on, so does the guest.
func TestStoppedQEMU(t *testing.T) { // not parallel: it tells its QEMU by when that came
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
	assert.ErrorContains(t, err, "QEMU itself is stopped, by a signal or a debugger (kill -CONT "+strconv.Itoa(ours[0])+" lets it go on)")
	g.Run(t, "true")
}

// A command that the kernel kills for want of memory says so, be it the guest's
// memory or that of a control group, and takes neither the agent nor another service
// along.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	for _, args := range [][]string{
		{"systemd-run", "--quiet", "--scope", "--property=MemoryMax=32M", "tail", "/dev/zero"},
		{"sh", "-c", "dd if=/dev/zero of=/dev/null bs=440M; exit $?"},
	} {
		_, err := g.Machine.Run(t.Context(), args...)
		var exit *vmtest.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Regexp(t, `; the guest ran out of memory and its kernel killed process \d+ \((tail|dd)\)`, err.Error())
	}
	assert.Empty(t, g.Run(t, "systemctl", "list-units", "--failed", "--type=service", "--no-legend"))
}
