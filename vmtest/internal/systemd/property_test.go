package systemd

import (
	"math"
	"testing"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProperty(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.socket", "active", "listening", props{"NAccepted": uint32(3)})
		for name, want := range map[string]any{"NAccepted": uint32(3), "SubState": "listening"} {
			value, err := m.Property(t.Context(), "a.socket", name)
			require.NoError(t, err)
			assert.Equal(t, want, value.Value())
		}
		_, err := m.Property(t.Context(), "a.socket", "MemoryPeak")
		assert.Equal(t, &PropertyError{"a.socket", "MemoryPeak", "257.9-1"}, err)
		assert.EqualError(t, err, `a.socket has no property "MemoryPeak": systemd 257.9-1 gives units of its type none`)
		_, err = m.Property(t.Context(), "a.socket", "NAccepted\x00")
		assert.EqualError(t, err, `"NAccepted\x00" is not the name of a property`)
		_, err = m.Property(t.Context(), "a", "SubState")
		assert.ErrorContains(t, err, `unit name "a" has no type`)
		_, err = m.Properties(t.Context(), "a\x00.socket")
		assert.ErrorContains(t, err, `has a character that names cannot have: '\x00'`)
	})
}

// The state of a unit that is up costs one call.
func TestPropertyInOneCall(t *testing.T) {
	f, m := newFake(t)
	f.unit("a.service", "active", "running", nil)
	value, err := m.Property(t.Context(), "a.service", "ActiveState")
	require.NoError(t, err)
	assert.Equal(t, "active", value.Value())
	f.mu.Lock()
	defer f.mu.Unlock()
	assert.Equal(t, map[string]int{"Get": 1}, f.calls, "calls of systemd")
}

// A unit without a file exists while it runs.
func TestPropertiesOfAUnitThatDoesNotExist(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		_, err := m.Property(t.Context(), "a.service", "SubState")
		assert.ErrorIs(t, err, ErrNoUnit)
		_, err = m.Properties(t.Context(), "a.service")
		assert.ErrorIs(t, err, ErrNoUnit)
		f.unit("a.service", "inactive", "dead", props{"LoadState": "not-found", "Job": fakeJob{7, "/"}})
		_, err = m.Properties(t.Context(), "a.service")
		assert.NoError(t, err, "it has a job")
		f.unit("a.service", "active", "running", props{"LoadState": "not-found"})
		_, err = m.Property(t.Context(), "a.service", "SubState")
		assert.NoError(t, err)
		p, err := m.Properties(t.Context(), "a.service")
		assert.NoError(t, err)
		assert.Equal(t, "running", StateOf(p).SubState)
	})
}

type address struct{ Type, Address string }

func TestStore(t *testing.T) {
	store := func(value any, into any) error { return Store(godbus.MakeVariant(value), into) }
	var s string
	require.NoError(t, store("listening", &s))
	assert.Equal(t, "listening", s)
	var list []string
	require.NoError(t, store([]string{"a", "b"}, &list))
	assert.Equal(t, []string{"a", "b"}, list)
	var addresses []address
	require.NoError(t, store([][]any{{"Stream", "/run/a"}}, &addresses))
	assert.Equal(t, []address{{"Stream", "/run/a"}}, addresses)
	var n int
	require.NoError(t, store(uint32(7), &n))
	assert.Equal(t, 7, n)
	var whatever any
	require.NoError(t, store(uint32(7), &whatever))
	assert.Equal(t, uint32(7), whatever)

	var small int8
	var unsigned uint64
	assert.EqualError(t, store(uint64(math.MaxUint64), &n), "18446744073709551615 of D-Bus type t does not fit into a int")
	assert.EqualError(t, store(int32(128), &small), "128 of D-Bus type i does not fit into a int8")
	assert.EqualError(t, store(int32(-1), &unsigned), "-1 of D-Bus type i does not fit into a uint64")
	assert.EqualError(t, store(uint32(65), &s), "65 of D-Bus type u does not fit into a string")
	assert.ErrorContains(t, store("7", &n), "does not fit into a int")
	assert.ErrorContains(t, store(true, n), "int is no pointer")
	assert.ErrorContains(t, store(true, (*bool)(nil)), "*bool is no pointer")
}

func TestInstances(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a@2.service", "active", "running", nil)
		f.unit("a@1.service", "failed", "failed", nil)
		f.unit("a@3.service", "inactive", "dead", nil)
		f.unit("a@4.service", "inactive", "dead", props{"Job": fakeJob{7, "/"}})
		f.unit("ab@1.service", "active", "running", nil)
		names, err := m.Instances(t.Context(), "a@.service")
		require.NoError(t, err)
		assert.Equal(t, []string{"a@1.service", "a@2.service", "a@4.service"}, names)
		_, err = m.Instances(t.Context(), "a@1.service")
		assert.EqualError(t, err, "a@1.service is not the name of a template, such as demo@.service")
		_, err = m.Instances(t.Context(), "a*@.service")
		assert.ErrorContains(t, err, "is a pattern")
	})
}
