package systemd

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Signals arrive in the order in which systemd sent them, however many there are.
func TestSignalsKeepTheirOrder(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		c, err := m.connect(t.Context())
		require.NoError(t, err)
		s := watchSignals(c)
		defer s.close()
		const many = 2000
		for i := range many {
			f.managerSignal("UnitRemoved", fmt.Sprintf("%d.service", i), objectPath("a"))
		}
		synctest.Wait()
		for i := range many {
			signal, err := s.receive(t.Context())
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%d.service", i), unitOf(signal))
		}
	})
}

// The removal of a unit is announced although an earlier one was about a unit that was
// loaded for a moment, whose own removal was drained or whose next loading stayed.
func TestPassingIsForgotten(t *testing.T) {
	for name, between := range map[string]func(*testing.T, *fakeSystemd, *signals){
		"drained": func(_ *testing.T, f *fakeSystemd, s *signals) {
			f.managerSignal("UnitRemoved", "a.service", objectPath("a.service"))
			synctest.Wait()
			s.drain()
		},
		"loaded": func(t *testing.T, f *fakeSystemd, s *signals) {
			f.unit("a.service", "active", "running", nil)
			f.managerSignal("UnitNew", "a.service", objectPath("a.service"))
			passes, err := s.passes(t.Context(), <-s.ch)
			assert.NoError(t, err)
			assert.False(t, passes)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				c, err := m.connect(t.Context())
				require.NoError(t, err)
				s := watchSignals(c)
				defer s.close()
				f.managerSignal("UnitNew", "a.service", objectPath("a.service"))
				passes, err := s.passes(t.Context(), <-s.ch)
				require.NoError(t, err)
				require.True(t, passes)
				between(t, f, s)
				f.managerSignal("UnitRemoved", "a.service", objectPath("a.service"))
				passes, err = s.passes(t.Context(), <-s.ch)
				require.NoError(t, err)
				assert.False(t, passes)
			})
		})
	}
}
