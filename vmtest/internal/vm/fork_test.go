package vm

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/link"
)

func TestFork(t *testing.T) {
	h := newFakeHost(t)
	s := fakeSnapshot(t, deviceState, link.Handshake{})
	began := time.Now()
	m, err := s.Fork(t.Context(), someInstance())
	require.NoError(t, err)
	defer m.Close()
	assert.NoError(t, m.run(t.Context(), "true"))
	assert.True(t, (<-h.machines).incoming())
	assert.WithinRange(t, m.Resumed(), began.Add(-time.Millisecond), time.Now(), "QEMU counts microseconds")
}

// An agent in a session that this host cannot resume is asked for another one.
func TestForkShakesHandsAgain(t *testing.T) {
	newFakeHost(t)
	s := fakeSnapshot(t, deviceState, link.Handshake{Sent: []byte("SSH-2.0-other\r\n")})
	m, err := s.Fork(t.Context(), someInstance())
	require.NoError(t, err)
	defer m.Close()
	assert.NoError(t, m.run(t.Context(), "true"))
}

func TestForkThatFails(t *testing.T) {
	for _, test := range []struct {
		name       string
		state      string
		prepare    func(*fakeMachine)
		says       string
		unloadable bool
	}{
		{"state of another machine", "other", nil, `load of migration failed: "other"`, true},
		{"state is refused", deviceState, func(f *fakeMachine) {
			f.on["migrate-incoming"] = func(json.RawMessage) (any, error) { return nil, errors.New("refused") }
		}, "refused", true},
		{"agent refuses", deviceState, func(f *fakeMachine) { f.refusesWake = true }, "wake guest: not now", false},
		{"guest is not resumed", deviceState, func(f *fakeMachine) {
			f.on["cont"] = func(json.RawMessage) (any, error) { return nil, errors.New("cannot continue") }
		}, "cannot continue", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newFakeHost(t)
			h.prepare = test.prepare
			_, err := fakeSnapshot(t, test.state, link.Handshake{}).Fork(t.Context(), someInstance())
			require.ErrorAs(t, err, new(*GuestError))
			assert.ErrorContains(t, err, test.says)
			assert.Equal(t, test.unloadable, errors.As(err, new(*unloadableError)))
		})
	}
}

// A fork that is given up is no fault of the snapshot's, and leaves no QEMU.
func TestForkGivenUp(t *testing.T) {
	h := newFakeHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	h.prepare = func(f *fakeMachine) {
		f.on["migrate-incoming"] = func(json.RawMessage) (any, error) { cancel(); return struct{}{}, nil }
	}
	_, err := fakeSnapshot(t, deviceState, link.Handshake{}).Fork(ctx, someInstance())
	assert.ErrorIs(t, err, context.Canceled)
	assert.False(t, errors.As(err, new(*unloadableError)))
	assert.False(t, errors.As(err, new(*GuestError)))
}

// A fork that only this host fails is no fault of the snapshot's or the guest's.
func TestForkThatTheHostFails(t *testing.T) {
	newFakeHost(t)
	s := fakeSnapshot(t, deviceState, link.Handshake{})
	state := s.files.State
	defer func() { s.files.State = state }()
	closed, err := os.Open(os.DevNull)
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	s.files.State = closed
	_, err = s.Fork(t.Context(), someInstance())
	assert.ErrorContains(t, err, "fork debian-13: open device state: ")
	assert.False(t, errors.As(err, new(*GuestError)), "%v", err)
	assert.False(t, errors.As(err, new(*unloadableError)), "%v", err)
}

// A QEMU that another process kills says nothing about the snapshot. One that exits by
// itself does.
func TestForkWhoseQEMUEnds(t *testing.T) {
	for _, test := range []struct {
		says       string
		end        func(*fakeMachine)
		unloadable bool
	}{
		{"QEMU exited: signal: killed", func(f *fakeMachine) { f.kill(syscall.SIGKILL) }, false},
		{"QEMU exited: exit status 1; it printed: bad state", func(f *fakeMachine) { f.exit(1, "bad state") }, true},
	} {
		h := newFakeHost(t)
		h.prepare = func(f *fakeMachine) {
			f.on["migrate-incoming"] = func(json.RawMessage) (any, error) { go test.end(f); return struct{}{}, nil }
		}
		_, err := fakeSnapshot(t, deviceState, link.Handshake{}).Fork(t.Context(), someInstance())
		require.ErrorAs(t, err, new(*GuestError))
		assert.ErrorContains(t, err, test.says)
		assert.Equal(t, test.unloadable, errors.As(err, new(*unloadableError)), "%v", err)
	}
}

// A memory file that is too short ends QEMU by SIGBUS, which no other process has sent.
func TestWasKilled(t *testing.T) {
	for script, want := range map[string]bool{"kill -KILL $$": true, "kill -TERM $$": true, "kill -BUS $$": false, "exit 1": false} {
		m := machineOf(t, script)
		<-m.Done()
		assert.Equal(t, want, m.wasKilled(), script)
	}
	assert.False(t, machineOf(t, "exec sleep 1000").wasKilled())
}

func TestForkTakesTooLong(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = func(f *fakeMachine) {
		f.on["migrate-incoming"] = func(json.RawMessage) (any, error) { return struct{}{}, nil }
	}
	_, err := fakeSnapshot(t, deviceState, link.Handshake{}).Fork(t.Context(), Instance{BootTimeout: 100 * time.Millisecond})
	require.ErrorAs(t, err, new(*GuestError))
	assert.ErrorContains(t, err, "no fork within ")
	assert.False(t, errors.As(err, new(*unloadableError)))
}

// A snapshot closes once, when no fork uses its files, and says that it is closed.
func TestForkOfAClosedSnapshot(t *testing.T) {
	h := newFakeHost(t)
	s := fakeSnapshot(t, deviceState, link.Handshake{})
	began, release := make(chan struct{}), make(chan struct{})
	h.mu.Lock()
	h.prepare = func(f *fakeMachine) {
		f.on["getfd"] = func(arguments json.RawMessage) (any, error) {
			close(began)
			<-release
			return f.execute("getfd", arguments)
		}
	}
	h.mu.Unlock()
	forked, closed := make(chan error, 1), make(chan error, 2)
	go func() {
		m, err := s.Fork(t.Context(), someInstance())
		if err == nil {
			m.Close()
		}
		forked <- err
	}()
	<-began
	for range 2 {
		go func() { closed <- s.Close() }()
	}
	assert.Eventually(t, func() bool {
		if s.using.TryRLock() {
			s.using.RUnlock()
			return false
		}
		return true
	}, testTimeout, time.Millisecond, "Close does not wait for the fork")
	assert.Empty(t, closed)
	close(release)
	assert.NoError(t, <-forked)
	assert.NoError(t, <-closed)
	assert.NoError(t, <-closed, "closed again")
	_, err := s.Fork(t.Context(), someInstance())
	assert.EqualError(t, err, "fork debian-13: the snapshot is closed")
}
