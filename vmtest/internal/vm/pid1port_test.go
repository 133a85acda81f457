package vm

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// A fork's connection to PID 1 is that of its snapshot. When the guest closes it, a new one is
// made through the agent.
func TestForkIsConnectedToPID1(t *testing.T) {
	h := newFakeHost(t)
	m, err := fakeSnapshot(t, deviceState, link.Handshake{}).Fork(t.Context(), someInstance())
	require.NoError(t, err)
	defer m.Close()
	fake := <-h.machines
	state, err := m.WaitSystemState(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "running", state)
	assert.Zero(t, fake.dials.Load(), "connections to PID 1 that the agent has made")

	fake.setPID1(func() string { return "degraded" })
	fake.closePID1()
	state, err = m.WaitSystemState(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "degraded", state)
	assert.EqualValues(t, 1, fake.dials.Load(), "connections to PID 1 that the agent has made")
}

// The snapshot of a fork ends its connection to PID 1 first, because the port carries the
// next one.
func TestSnapshotOfAFork(t *testing.T) {
	h := newFakeHost(t)
	first, _ := h.bootFake()
	s, err := first.Snapshot(t.Context())
	require.NoError(t, err)
	defer s.Close()
	m, err := s.Fork(t.Context(), someInstance())
	require.NoError(t, err)
	again, err := m.Snapshot(t.Context())
	require.NoError(t, err)
	defer again.Close()
	m, err = again.Fork(t.Context(), someInstance())
	require.NoError(t, err)
	defer m.Close()
	_, err = m.WaitSystemState(t.Context())
	assert.NoError(t, err)
}

// What arrived before the guest closed the port is read, and then the end.
func TestPortConn(t *testing.T) {
	ours, theirs, err := qemu.Wire("systemd")
	require.NoError(t, err)
	defer theirs.Close()
	c := &portConn{UnixConn: ours}
	defer c.Close()
	_, err = theirs.WriteString("last words")
	require.NoError(t, err)
	c.end()
	data, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, "last words", string(data))
}

// A guest that closes the port instead of an answer ends the fork.
func TestForkWhoseAgentDies(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = func(f *fakeMachine) { f.leavesPID1 = true }
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	_, err := fakeSnapshot(t, deviceState, link.Handshake{}).Fork(ctx, someInstance())
	require.ErrorAs(t, err, new(*GuestError))
	assert.ErrorContains(t, err, "wake guest: guest link lost")
}
