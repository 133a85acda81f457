package vm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bootFake boots a machine on the host and returns both sides of it.
func (h *fakeHost) bootFake() (*Machine, *fakeMachine) {
	h.t.Helper()
	m, err := Boot(h.t.Context(), someSpec(h.t))
	require.NoError(h.t, err)
	m.stream.restartable = 24 * time.Hour // the test starts the journal's stream again, by a query
	h.t.Cleanup(m.Close)
	return m, <-h.machines
}

func TestBoot(t *testing.T) {
	h := newFakeHost(t)
	m, fake := h.bootFake()
	assert.NoError(t, m.run(t.Context(), "true"))
	assert.Contains(t, fake.args, "-no-reboot")
}

func TestBootOfADegradedSystem(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = func(f *fakeMachine) { f.pid1 = func() string { return "degraded" } }
	_, err := Boot(t.Context(), someSpec(t))
	var guest *GuestError
	require.ErrorAs(t, err, &guest)
	assert.ErrorContains(t, err, `systemd is "degraded" instead of running`)
}

// An agent that closes its port during the handshake, or right after it, has gone. QEMU keeps
// the stream open, so only its event shows that.
func TestPortClosesDuringTheHandshake(t *testing.T) {
	const says = "guest link lost: the guest closed its port"
	for name, silent := range map[string]bool{"in it": true, "after it": false} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t)
			h.prepare = func(f *fakeMachine) {
				f.closesPort.Store(true)
				f.silentAgent = silent
			}
			m, err := Boot(t.Context(), someSpec(t))
			if err == nil {
				m.Close()
			}
			require.ErrorAs(t, err, new(*GuestError))
			assert.ErrorContains(t, err, says)
		})
	}
	t.Run("reboot", func(t *testing.T) {
		h := newFakeHost(t)
		h.prepare = rebooting
		m, fake := h.bootFake()
		fake.closesPort.Store(true)
		err := m.Reboot(t.Context())
		require.ErrorAs(t, err, new(*GuestError))
		assert.ErrorContains(t, err, says)
	})
}
