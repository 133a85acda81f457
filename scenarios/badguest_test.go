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

// A kernel that panics ends the boot at once. Before the image's own programs run, the
// console is a source that no unit can write.
func TestKernelPanics(t *testing.T) {
	t.Parallel()
	needMachine(t)
	// Without an init in the initrd the kernel looks for a root of its own.
	_, err := vmtest.Launch(t.Context(), vmtest.Config{ColdBoot: true, KernelArgs: []string{"rdinit=/nowhere"}})
	var guest *vmtest.GuestError
	require.ErrorAs(t, err, &guest)
	assert.ErrorContains(t, err, "the guest's kernel panicked: VFS: Unable to mount root fs")
	assert.NotEmpty(t, guest.Console, "console lines as evidence")
	assert.LessOrEqual(t, len(guest.Console), 50)
}

// A guest that never gets ready is an error within its timeout. The error has what was
// waited for.
func TestGuestNeverGetsReady(t *testing.T) {
	t.Parallel()
	needMachine(t)
	const limit = 10 * time.Second
	begin := time.Now()
	// The emergency target leaves out sysinit.target, and the agent with it.
	_, err := vmtest.Launch(t.Context(), vmtest.Config{
		ColdBoot:    true,
		KernelArgs:  []string{"systemd.unit=emergency.target"},
		BootTimeout: limit,
	})
	var guest *vmtest.GuestError
	require.ErrorAs(t, err, &guest)
	assert.ErrorContains(t, err, "wait for the guest's agent: not up within ")
	assert.ErrorContains(t, err, "Config.BootTimeout")
	assert.ErrorContains(t, err, "the agent has not come up")
	assert.Less(t, time.Since(begin), 14*limit, "ten times at most on a slow host, and the start")
}

// An agent that dies during a command is an error at once, not at a deadline.
func TestAgentDies(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	r, err := g.Machine.Exec(t.Context(), vmtest.Command{
		Args: []string{"systemctl", "kill", "--signal=KILL", "vmtest-agent.service"},
	})
	var guest *vmtest.GuestError
	require.ErrorAs(t, err, &guest)
	assert.Equal(t, -1, r.ExitCode, "exit status of a command whose end is not known")
	assert.ErrorContains(t, err, "closed the link")

	_, err = g.Machine.Run(t.Context(), "true")
	require.ErrorAs(t, err, &guest, "and no later command hangs either")
}

// A machine that powers off during a command ends the command at once. The error has how
// QEMU ended.
func TestMachineGoesDuringACommand(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	_, err := g.Machine.Run(t.Context(), "systemctl", "poweroff", "--force", "--force")
	var guest *vmtest.GuestError
	require.ErrorAs(t, err, &guest)
	assert.ErrorContains(t, err, "QEMU exited")
}

// A reboot whose systemctl cannot be started fails at once.
func TestRebootThatCannotBegin(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{BootTimeout: time.Minute})
	g.Run(t, "sh", "-c", `mount --bind /dev/null "$(readlink -f "$(command -v systemctl)")"`)
	var start *vmtest.StartError
	require.ErrorAs(t, g.Machine.Reboot(t.Context()), &start)
	require.ErrorAs(t, g.Machine.SoftReboot(t.Context()), &start)
}

// A reboot whose systemctl is stopped with the system goes on.
func TestRebootStopsItsCommand(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{BootTimeout: time.Minute})
	// The command is stopped before the agent, which reports its end.
	g.WriteFile(t, "/run/systemctl", []byte(`#!/bin/sh
setsid /run/systemctl.real "$@" >/dev/null 2>&1 &
kill -TERM $$
`), 0o755)
	g.Run(t, "sh", "-c", `systemctl=$(readlink -f "$(command -v systemctl)") &&
cp "$systemctl" /run/systemctl.real && mount --bind /run/systemctl "$systemctl"`)
	require.NoError(t, g.Machine.Reboot(t.Context()))
}

// A guest that powers off instead of rebooting is reported once.
func TestRebootEndsTheGuest(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{BootTimeout: time.Minute})
	g.Run(t, "mkdir", "/run/systemd/system/systemd-reboot.service.d")
	g.WriteFile(t, "/run/systemd/system/systemd-reboot.service.d/off.conf", []byte("[Unit]\nSuccessAction=poweroff-force\n"), 0o644)
	g.DaemonReload(t)
	err := g.Machine.Reboot(t.Context())
	require.ErrorAs(t, err, new(*vmtest.GuestError))
	assert.Equal(t, 1, strings.Count(err.Error(), "the guest powered off"), "reports of the end in:\n%v", err)
}

// A command whose context ends is killed in the guest, with all that it started.
func TestCommandEndsWithItsContext(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := g.Machine.Exec(ctx, vmtest.Command{
			Args:   []string{"sh", "-c", "sleep 98765 & echo started; wait"},
			Stdout: &notifier{text: "started", seen: started},
		})
		done <- err
	}()
	<-started
	cancel()
	assert.ErrorIs(t, <-done, context.Canceled)
	// The brackets keep the shell's own command line from matching.
	r := g.Exec(t, vmtest.Command{Args: []string{"sh", "-c", "grep -l 9876[5] /proc/[0-9]*/cmdline"}})
	assert.Empty(t, string(r.Stdout), "processes of the command that are left")
}

// notifier closes seen when text has been written to it.
type notifier struct {
	text, got string
	seen      chan struct{}
}

func (n *notifier) Write(p []byte) (int, error) {
	before := strings.Contains(n.got, n.text)
	n.got += string(p)
	if !before && strings.Contains(n.got, n.text) {
		close(n.seen)
	}
	return len(p), nil
}
