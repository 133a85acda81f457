package vm

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// fakeSnapshot returns a snapshot whose device state is as given, of an agent in the given
// session.
func fakeSnapshot(t *testing.T, state string, session link.Handshake) *Snapshot {
	t.Helper()
	store, err := snapshots.OpenCached()
	require.NoError(t, err)
	files, err := store.Scratch(1)
	require.NoError(t, err)
	require.NoError(t, files.RAM.Truncate(1<<20))
	_, err = files.State.WriteString(state)
	require.NoError(t, err)
	s := &Snapshot{spec: someSpec(t), files: files, moment: moment{Stopped: time.Now(), Session: session}}
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func someInstance() Instance { return Instance{BootTimeout: testTimeout} }

func TestSnapshot(t *testing.T) {
	h := newFakeHost(t)
	m, first := h.bootFake()
	s, err := m.Snapshot(t.Context())
	require.NoError(t, err)
	defer s.Close()
	<-m.Done()
	second := <-h.machines
	assert.Contains(t, second.args, "-incoming")
	assert.NotContains(t, second.commands(), "cont", "the second QEMU never runs the guest")
	asked := first.commands()
	assert.Less(t, indexOf(asked, "stop"), indexOf(asked, "migrate"), "%v", asked)
	state := make([]byte, 100)
	n, _ := s.files.State.ReadAt(state, 0)
	assert.Equal(t, deviceState, string(state[:n]))
	assert.False(t, s.moment.Session.IsZero())
	assert.WithinDuration(t, time.Now(), s.moment.Stopped, testTimeout)
}

func indexOf(list []string, word string) int {
	for i, w := range list {
		if w == word {
			return i
		}
	}
	return len(list)
}

// A migration that fails at either end is an error with QEMU's reason.
func TestSnapshotThatFails(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(*fakeMachine)
		says    string
	}{
		{"stop", func(f *fakeMachine) {
			f.on["stop"] = func(json.RawMessage) (any, error) { return nil, errors.New("cannot stop") }
		}, "cannot stop"},
		{"memory is not sent", func(f *fakeMachine) {
			if !f.incoming() {
				f.on["migrate"] = func(json.RawMessage) (any, error) { go f.migrated("failed", "cannot send"); return struct{}{}, nil }
			}
		}, "migrate: failed: cannot send"},
		{"memory is not loaded", func(f *fakeMachine) {
			f.on["migrate-incoming"] = func(json.RawMessage) (any, error) { go f.exit(1, "cannot load"); return struct{}{}, nil }
		}, "cannot load"},
		{"state is not saved", func(f *fakeMachine) {
			if f.incoming() {
				f.on["migrate"] = func(json.RawMessage) (any, error) { go f.migrated("failed", "cannot save"); return struct{}{}, nil }
			}
		}, "migrate: failed: cannot save"},
		{"the guest powers off", func(f *fakeMachine) {
			f.command = func([]string) int { f.end("guest-shutdown"); return 0 }
		}, "the guest powered off"},
		{"the agent dies", func(f *fakeMachine) {
			f.command = func([]string) int { f.agent.die(); return 0 }
		}, "closed the link"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newFakeHost(t)
			h.prepare = test.prepare
			m, _ := h.bootFake()
			_, err := m.Snapshot(t.Context())
			assert.ErrorContains(t, err, test.says)
			// Only one of the two QEMUs runs the guest.
			assert.Equal(t, test.name != "state is not saved", errors.As(err, new(*GuestError)), "%v", err)
			<-m.Done()
		})
	}
}

// The second QEMU never runs the guest. If it exits, the error has what it printed.
func TestSnapshotWhoseQEMUExits(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = func(f *fakeMachine) {
		if f.incoming() {
			f.on["migrate"] = func(json.RawMessage) (any, error) { go f.exit(1, "cannot write"); return struct{}{}, nil }
		}
	}
	m, _ := h.bootFake()
	_, err := m.Snapshot(t.Context())
	assert.ErrorContains(t, err, "snapshot debian-13: save devices: ")
	assert.ErrorContains(t, err, "; QEMU printed: cannot write")
	assert.False(t, errors.As(err, new(*GuestError)), "%v", err)
}

// A snapshot whose context has ended does nothing to the machine.
func TestSnapshotWithAnEndedContext(t *testing.T) {
	h := newFakeHost(t)
	m, _ := h.bootFake()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.Snapshot(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	assert.NoError(t, m.run(t.Context(), "true"), "the machine goes on")
}

func TestSnapshotGivenUp(t *testing.T) {
	h := newFakeHost(t)
	m, fake := h.bootFake()
	ctx, cancel := context.WithCancel(t.Context())
	fake.setCommand(func([]string) int { cancel(); return 0 })
	_, err := m.Snapshot(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	assert.False(t, errors.As(err, new(*GuestError)), "the guest did nothing wrong")
	<-m.Done()
}

// A second call that would save or restart the machine fails and does no harm.
func TestOneChangeAtATime(t *testing.T) {
	h := newFakeHost(t)
	m, fake := h.bootFake()
	inside, release := make(chan struct{}), make(chan struct{})
	enter := sync.OnceFunc(func() { close(inside) })
	fake.setCommand(func(args []string) int {
		if args[0] == "udevadm" {
			enter()
			<-release
		}
		return 0
	})
	done := make(chan error, 1)
	go func() {
		s, err := m.Snapshot(t.Context())
		if err == nil {
			err = s.Close()
		}
		done <- err
	}()
	<-inside
	_, err := m.Snapshot(t.Context())
	assert.EqualError(t, err, "snapshot debian-13: a snapshot of the machine is in progress")
	assert.EqualError(t, m.Reboot(t.Context()), "reboot debian-13: a snapshot of the machine is in progress")
	assert.EqualError(t, m.SoftReboot(t.Context()), "soft-reboot debian-13: a snapshot of the machine is in progress")
	close(release)
	assert.NoError(t, <-done)
}
