package systemd

import (
	"math"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNextElapse(t *testing.T) {
	midnight := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		none, err := m.NextElapse(t.Context())
		require.NoError(t, err)
		assert.Zero(t, none)

		f.unit("tmpfiles.timer", "active", "waiting", props{"NextElapseUSecRealtime": uint64(0)}) // OnBootSec=
		f.unit("once.timer", "active", "elapsed", props{"NextElapseUSecRealtime": uint64(math.MaxUint64)})
		f.unit("weekly.timer", "active", "waiting", props{"NextElapseUSecRealtime": uint64(midnight.Add(24 * time.Hour).UnixMicro())})
		f.unit("daily.timer", "active", "waiting", props{"NextElapseUSecRealtime": uint64(midnight.UnixMicro())})
		f.unit("off.timer", "inactive", "dead", props{"NextElapseUSecRealtime": uint64(1)})
		f.unit("a.service", "active", "running", nil)
		next, err := m.NextElapse(t.Context())
		require.NoError(t, err)
		assert.Equal(t, Elapse{"daily.timer", midnight}, next)
	})
}

func TestNextElapseThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.on["ListUnitsByPatterns"] = func([]any) ([]any, error) {
			return nil, *godbus.NewError("org.freedesktop.DBus.Error.AccessDenied", []any{"no"})
		}
		_, err := m.NextElapse(t.Context())
		assert.EqualError(t, err, "list timers: no")
	})
}
