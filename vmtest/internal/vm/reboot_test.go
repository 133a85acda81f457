package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/link"
)

func TestRefusedRestart(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"done":                       {nil, false},
		"link went with the system":  {fmt.Errorf("run systemctl: %w", link.ErrLost), false},
		"agent went with the system": {fmt.Errorf("run systemctl: %w", &GuestError{Err: link.ErrLost}), false},
		"guest gone":                 {fmt.Errorf("run systemctl: %w", &GuestError{}), false},
		"stopped with the system":    {fmt.Errorf("run systemctl: %w", &link.ExitError{ExitCode: -1, Signal: "TERM"}), false},
		"exit status":                {fmt.Errorf("run systemctl: %w", &link.ExitError{ExitCode: 1}), true},
		"crash":                      {fmt.Errorf("run systemctl: %w", &link.ExitError{ExitCode: -1, Signal: "SEGV"}), true},
		"not started":                {&link.StartError{Name: "systemctl", Errno: syscall.ENOENT}, true},
		"given up":                   {fmt.Errorf("run systemctl: %w", context.Canceled), true},
	} {
		assert.Equal(t, test.want, refused(test.err), name)
	}
}

// rebooting makes the guest reset itself when it is told to reboot.
func rebooting(f *fakeMachine) {
	f.command = func(args []string) int {
		if args[0] == "systemctl" {
			go f.reset()
		}
		return 0
	}
}

// refuseReboot plays a systemctl that fails.
func refuseReboot(args []string) int {
	if args[0] == "systemctl" {
		return 2
	}
	return 0
}

func TestReboot(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = rebooting
	m, fake := h.bootFake()
	assert.False(t, m.Rebooted())
	require.NoError(t, m.Reboot(t.Context()))
	assert.NoError(t, m.run(t.Context(), "true"))
	assert.Equal(t, "shutdown", fake.action(), "after a reboot a panic ends the machine")
	assert.True(t, m.Rebooted())
	require.NoError(t, m.Reboot(t.Context()), "again")
}

// A reboot that fails leaves a machine that a reset ends, and that can be used if it runs.
func TestRebootThatFails(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(*fakeMachine)
		says    string
		gone    bool
	}{
		{"systemctl fails", func(f *fakeMachine) { f.command, f.stderr = refuseReboot, "Unknown command verb\n" },
			"reboot debian-13: systemctl: exit status 2: Unknown command verb", false},
		{"systemctl fails silently", func(f *fakeMachine) { f.command = refuseReboot }, "systemctl: exit status 2", false},
		{"QEMU refuses", func(f *fakeMachine) {
			f.on["set-action"] = func(arguments json.RawMessage) (any, error) {
				if strings.Contains(string(arguments), "reset") {
					return nil, errors.New("no such action")
				}
				return f.execute("set-action", arguments)
			}
		}, "no such action", false},
		{"the guest powers off", func(f *fakeMachine) {
			f.command = func([]string) int { go f.end("guest-shutdown"); return 0 }
		}, "the guest powered off", true},
		{"the guest panics", func(f *fakeMachine) {
			f.command = func([]string) int { go panicked(f); return 0 }
		}, "the guest's kernel panicked", true},
		{"systemd does not start", func(f *fakeMachine) {
			var rebooted atomic.Bool
			f.command = func([]string) int {
				rebooted.Store(true)
				go f.reset()
				return 0
			}
			f.pid1 = func() string {
				if rebooted.Load() {
					return "degraded"
				}
				return "running"
			}
		}, `systemd is "degraded" instead of running`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newFakeHost(t)
			h.prepare = test.prepare
			m, fake := h.bootFake()
			err := m.Reboot(t.Context())
			require.ErrorContains(t, err, test.says)
			assert.Equal(t, 1, strings.Count(err.Error(), test.says), "%v", err)
			assert.Equal(t, test.gone, isClosed(m.Done()))
			if !test.gone {
				assert.Equal(t, "shutdown", fake.action())
				fake.setCommand(func([]string) int { return 0 })
				assert.NoError(t, m.run(t.Context(), "true"))
			}
		})
	}
}

// A QEMU that exits during a reboot has printed why.
func TestQEMUExitsDuringAReboot(t *testing.T) {
	h := newFakeHost(t)
	m, fake := h.bootFake()
	fake.setCommand(func([]string) int { go fake.exit(1, "qemu: no such reset"); return 0 })
	err := m.Reboot(t.Context())
	var guest *GuestError
	require.ErrorAs(t, err, &guest)
	assert.Equal(t, "qemu: no such reset", guest.Stderr)
	assert.ErrorContains(t, err, "QEMU exited: exit status 1; it printed: qemu: no such reset")
}

// A reboot whose context has ended does nothing to the machine.
func TestRebootWithAnEndedContext(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = rebooting
	m, fake := h.bootFake()
	before := fake.commands()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 5 {
		assert.ErrorIs(t, m.Reboot(ctx), context.Canceled)
		assert.ErrorIs(t, m.SoftReboot(ctx), context.Canceled)
	}
	assert.NoError(t, m.run(t.Context(), "true"))
	assert.Equal(t, before, fake.commands())
}

// A reboot that is given up while QEMU has not answered leaves a machine that a reset
// ends, however late the answer comes.
func TestRebootGivenUp(t *testing.T) {
	h := newFakeHost(t)
	m, fake := h.bootFake()
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	fake.replace("set-action", func(arguments json.RawMessage) (any, error) {
		if strings.Contains(string(arguments), "reset") {
			cancel()
			<-release
		}
		return fake.execute("set-action", arguments)
	})
	done := make(chan error, 1)
	go func() { done <- m.Reboot(ctx) }()
	<-ctx.Done()
	close(release)
	err := <-done
	assert.ErrorIs(t, err, context.Canceled)
	assert.False(t, errors.As(err, new(*GuestError)))
	assert.Equal(t, "shutdown", fake.action())
	assert.NoError(t, m.run(t.Context(), "true"))
}

func TestRebootTakesTooLong(t *testing.T) {
	h := newFakeHost(t)
	m, fake := h.bootFake()
	m.spec.BootTimeout = 100 * time.Millisecond
	err := m.Reboot(t.Context())
	assert.ErrorContains(t, err, "wait for the agent of the next system: not up again within ")
	assert.ErrorContains(t, err, "PID 1 answered")
	assert.Equal(t, "shutdown", fake.action())
}

// A reboot whose guest goes leaves a machine that its guest has ended, and not this host.
func TestGuestGoesDuringAReboot(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*fakeMachine)
		says string
	}{
		"QEMU exits":     {func(f *fakeMachine) { f.exit(1, "oops") }, "QEMU exited: exit status 1"},
		"no agent comes": {func(*fakeMachine) {}, "the guest's agent closed the link while QEMU runs"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t)
			m, fake := h.bootFake()
			if name == "no agent comes" {
				m.spec.BootTimeout = 100 * time.Millisecond
			}
			before := m.events.now().portClosed
			fake.setCommand(func(args []string) int {
				if args[0] == "systemctl" {
					go func() {
						fake.agent.die()
						assert.NoError(t, m.events.waitPortClosed(t.Context(), before))
						<-m.Session().Done()
						test.end(fake)
					}()
				}
				return 0
			})
			require.ErrorAs(t, m.Reboot(t.Context()), new(*GuestError))
			<-m.Session().Done()
			for call, err := range map[string]error{
				"command": m.run(t.Context(), "true"),
				"systemd": m.KillUnit(t.Context(), "a.service", 9),
			} {
				require.ErrorAs(t, err, new(*GuestError), call)
				assert.ErrorContains(t, err, test.says, call)
				assert.ErrorContains(t, err, "console", call)
				assert.False(t, errors.As(err, new(*EndedError)), "%s: %v", call, err)
				assert.NotErrorIs(t, err, net.ErrClosed, call)
			}
		})
	}
}
