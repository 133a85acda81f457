package vm

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// inFlight begins a call of each kind. The guest answers none of them. inFlight returns their
// names, and a channel for the error of each.
func inFlight(t *testing.T, m *Machine, f *fakeMachine) map[string]chan error {
	t.Helper()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	ctx := context.Background() // none of these ends by its context
	f.setCommand(func(args []string) int {
		switch args[0] {
		case "sleep":
			f.hang("command")
			<-release
		case "systemctl":
			if args[len(args)-1] == "reboot" {
				go f.reset()
			} else {
				go f.softReboot()
			}
		}
		return 0
	})
	conn, err := m.Dial(ctx, "unix", "/open")
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	ended := make(map[string]chan error)
	for name, call := range map[string]func() error{
		"command": func() error { return m.run(ctx, "sleep", "1000") },
		"subsystem": func() error {
			return m.With(ctx, "read", func(ctx context.Context, c *link.Client) error {
				_, err := c.ReadFile(ctx, "/etc/hostname")
				return err
			})
		},
		"dial": func() error {
			_, err := m.Dial(ctx, "unix", silentSocket)
			return err
		},
		"StartUnit": func() error { return m.RunUnit(ctx, systemd.Start, "a.service") },
		"watch": func() error {
			begun := false
			return m.Watch(ctx, func(context.Context, *dbus.Conn) (string, bool, error) {
				if !begun {
					f.hang("watch")
				}
				begun = true
				return "", false, nil
			})
		},
		"connection": func() error {
			f.hang("connection")
			_, err := conn.Read(make([]byte, 1))
			return err
		},
	} {
		errs := make(chan error, 1)
		ended[name] = errs
		go func() { errs <- call() }()
	}
	for range ended {
		assert.Contains(t, ended, <-f.hung)
	}
	return ended
}

// What is in progress when this host ends the session says so, and claims no end of the
// guest's.
func TestHostEndsTheSession(t *testing.T) {
	for _, test := range []struct {
		by   string
		end  func(*testing.T, *Machine) error
		gone bool
	}{
		{"Snapshot", func(t *testing.T, m *Machine) error {
			s, err := m.Snapshot(t.Context())
			if err == nil {
				err = s.Close()
			}
			return err
		}, true},
		{"Reboot", func(t *testing.T, m *Machine) error { return m.Reboot(t.Context()) }, false},
		{"SoftReboot", func(t *testing.T, m *Machine) error { return m.SoftReboot(t.Context()) }, false},
		{"Kill", func(_ *testing.T, m *Machine) error { m.Kill(); return nil }, true},
		{"Close", func(_ *testing.T, m *Machine) error { m.Close(); return nil }, true},
	} {
		t.Run(test.by, func(t *testing.T) {
			h := newFakeHost(t)
			m, fake := h.bootFake()
			ended := inFlight(t, m, fake)
			require.NoError(t, test.end(t, m))
			for name, errs := range ended {
				err := <-errs
				assertEnded(t, err, test.by, name)
				// A connection is of package link.
				assert.Equal(t, test.gone && name != "connection", errors.As(err, new(*GuestError)), "%s: %v", name, err)
			}
			err := m.run(t.Context(), "true")
			if !test.gone {
				assert.NoError(t, err)
				return
			}
			assertEnded(t, err, test.by, "a later command")
			assertEnded(t, m.KillUnit(t.Context(), "a.service", 9), test.by, "a later call of systemd")
		})
	}
}

func assertEnded(t *testing.T, err error, by, call string) {
	t.Helper()
	assert.ErrorContains(t, err, "the host ended the session by "+by, call)
	for _, claim := range []string{"link lost", "exited", "closed", "canceled", "console"} {
		assert.NotContains(t, err.Error(), claim, call)
	}
	assert.ErrorIs(t, err, net.ErrClosed, call)
}

// A guest that ends while a call connects to systemd, or waits for something else than the
// link, ends the call. Such a guest looks like a systemd that re-executes itself.
func TestCallToAGuestThatGoes(t *testing.T) {
	never := func(context.Context, *dbus.Conn) (string, bool, error) { return "", false, nil }
	for name, call := range map[string]func(context.Context, *Machine) error{
		"Conn": func(ctx context.Context, m *Machine) error { _, err := m.Conn(ctx); return err },
		"WaitSystemState": func(ctx context.Context, m *Machine) error {
			_, err := m.WaitSystemState(ctx)
			return m.Explain(ctx, "lost", err)
		},
		"WaitUnit": func(ctx context.Context, m *Machine) error {
			_, err := m.WaitUnit(ctx, "a.service", "active")
			return err
		},
		"RunUnit":     func(ctx context.Context, m *Machine) error { return m.RunUnit(ctx, systemd.Start, "a.service") },
		"KillUnit":    func(ctx context.Context, m *Machine) error { return m.KillUnit(ctx, "a.service", 9) },
		"InspectUnit": func(ctx context.Context, m *Machine) error { _, err := m.InspectUnit(ctx, "a.service"); return err },
		"Overview":    func(ctx context.Context, m *Machine) error { _, err := m.Overview(ctx, nil); return err },
		"Watch":       func(ctx context.Context, m *Machine) error { return m.Watch(ctx, never) },
		"With": func(ctx context.Context, m *Machine) error {
			return m.With(ctx, "wait in", func(ctx context.Context, _ *link.Client) error { <-ctx.Done(); return context.Cause(ctx) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Only the end of its process tells, so it ends as a guest whose stream is open.
			m := machineOf(t, "exec sleep 1000")
			close(m.eventsDone)
			m.Systemd = systemd.NewManager(func(context.Context) (net.Conn, error) { return nil, syscall.ECONNREFUSED })
			ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- call(ctx, m) }()
			m.process.Kill()
			err := <-ended
			require.ErrorAs(t, err, new(*GuestError))
			assert.ErrorContains(t, err, "debian-13: QEMU exited: signal: killed; ")
			assert.NotErrorIs(t, err, context.DeadlineExceeded)
		})
	}
}

// A guest that has gone before this host ends the machine has ended by itself.
func TestCloseAfterTheGuestHasGone(t *testing.T) {
	for name, end := range map[string]func(*fakeMachine){
		"streams closed": func(f *fakeMachine) { f.end("guest-shutdown") },
		// QEMU has announced the end, and the link shows none yet.
		"streams open": func(f *fakeMachine) {
			f.event("SHUTDOWN", map[string]any{"guest": true, "reason": "guest-shutdown"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t)
			m, fake := h.bootFake()
			ended := inFlight(t, m, fake)
			end(fake)
			require.NoError(t, m.events.wait(t.Context(), func(seen events) bool { return seen.shutdown != "" }))
			m.Close()
			for name, errs := range ended {
				err := <-errs
				assert.NotErrorIs(t, err, net.ErrClosed, name)
				if name != "connection" { // of package link, whose errors are those of a net.Conn
					assert.ErrorAs(t, err, new(*GuestError), name)
					assert.ErrorContains(t, err, "the guest powered off", name)
				}
			}
		})
	}
}

// A machine that another goroutine closes ends a reboot and a snapshot in progress with that.
func TestCloseEndsARebootAndASnapshot(t *testing.T) {
	for name, call := range map[string]func(context.Context, *Machine) error{
		"reboot":   func(ctx context.Context, m *Machine) error { return m.Reboot(ctx) },
		"snapshot": func(ctx context.Context, m *Machine) error { _, err := m.Snapshot(ctx); return err },
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t)
			m, fake := h.bootFake()
			fake.setCommand(func([]string) int { go m.Close(); <-m.Done(); return 0 })
			err := call(t.Context(), m)
			assert.ErrorContains(t, err, "the host ended the session by Close")
			assert.NotContains(t, err.Error(), "console")
			assert.ErrorAs(t, err, new(*GuestError))
		})
	}
}

// So it does while the agent of the next system is silent in the handshake. The guest has no
// part in that.
func TestCloseEndsAHandshake(t *testing.T) {
	for name, call := range map[string]func(context.Context, *Machine) error{
		"Reboot":     func(ctx context.Context, m *Machine) error { return m.Reboot(ctx) },
		"SoftReboot": func(ctx context.Context, m *Machine) error { return m.SoftReboot(ctx) },
		"Snapshot":   func(ctx context.Context, m *Machine) error { _, err := m.Snapshot(ctx); return err },
	} {
		for by, end := range map[string]func(*Machine){"Close": (*Machine).Close, "Kill": (*Machine).Kill} {
			t.Run(name+"/"+by, func(t *testing.T) {
				h := newFakeHost(t)
				m, fake := h.bootFake()
				fake.setCommand(func(args []string) int {
					switch args[len(args)-1] {
					case "reboot":
						go fake.reset()
					case "soft-reboot":
						go fake.softReboot()
					}
					return 0
				})
				fake.replace("chardev-change", func(arguments json.RawMessage) (any, error) {
					// The host writes first in a handshake, and nobody reads that.
					fake.mu.Lock()
					theirs := fake.files["link"]
					fake.mu.Unlock()
					go func() {
						_, err := theirs.Read(make([]byte, 1))
						assert.NoError(t, err)
						end(m)
						theirs.Close() // with the process of QEMU
					}()
					return map[string]any{}, nil
				})
				err := call(t.Context(), m)
				assert.ErrorContains(t, err, "the host ended the session by "+by)
				assert.ErrorIs(t, err, net.ErrClosed)
				assert.NotContains(t, err.Error(), "console")
				assert.ErrorAs(t, err, new(*GuestError))
			})
		}
	}
}

// An agent that dies after the reboot is the guest's fault, and not the call's.
func TestAgentDiesAfterAReboot(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = rebooting
	m, fake := h.bootFake()
	fake.setPID1(func() string {
		if m.Rebooted() {
			go fake.agent.die()
			return "starting"
		}
		return "running"
	})
	err := m.Reboot(t.Context())
	require.ErrorAs(t, err, new(*GuestError))
	assert.ErrorContains(t, err, "the guest's agent closed the link while QEMU runs")
	assert.False(t, errors.As(err, new(*EndedError)), "%v", err)
}
