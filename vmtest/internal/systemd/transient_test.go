package systemd

import (
	"testing"
	"testing/synctest"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var unlimited = []dbus.Property{{Name: "MemoryMax", Value: godbus.MakeVariant(uint64(1 << 20))}}

func TestTransientUnitWaitsForItsJob(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "active", "running", nil)
		asked := f.answers("StartTransientUnit", fakeJobPath)
		started := inBackground(func() error { return m.StartTransient(t.Context(), "a.service", unlimited) })
		synctest.Wait()
		assert.Empty(t, started, "it did not wait")
		assert.Equal(t, []any{"a.service", "fail"}, (*asked)[:2])
		assert.Equal(t, [][]any{{"MemoryMax", godbus.MakeVariant(uint64(1 << 20))}}, (*asked)[2])
		f.ends("a.service", "failed")
		assert.Equal(t, &JobError{7, "failed"}, <-started)

		started = inBackground(func() error { return m.StartTransient(t.Context(), "a.service", nil) })
		synctest.Wait()
		f.ends("a.service", "done")
		assert.NoError(t, <-started)
	})
}

func TestSetProperties(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "active", "running", props{"MainPID": uint32(7)})
		asked := f.answers("SetUnitProperties")
		require.NoError(t, m.SetProperties(t.Context(), "a.service", unlimited))
		assert.Equal(t, []any{"a.service", true, [][]any{{"MemoryMax", godbus.MakeVariant(uint64(1 << 20))}}}, *asked)

		// systemd has one answer for what cannot be set and for what there is not.
		refused := ""
		f.on["SetUnitProperties"] = func([]any) ([]any, error) {
			return nil, *godbus.NewError("org.freedesktop.DBus.Error.PropertyReadOnly", []any{"Cannot set property " + refused + ", or unknown property."})
		}
		for _, refused = range []string{"MainPID", "Missing"} {
			set := append(unlimited, dbus.Property{Name: refused, Value: godbus.MakeVariant("x")})
			err := m.SetProperties(t.Context(), "a.service", set)
			if refused == "Missing" {
				assert.Equal(t, &PropertyError{"a.service", "Missing", "257.9-1"}, err)
			} else {
				assert.EqualError(t, err, "Cannot set property MainPID, or unknown property.")
			}
		}
	})
}

func TestResetFailed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		asked := f.answers("ResetFailedUnit")
		require.NoError(t, m.ResetFailed(t.Context(), "a.service"))
		assert.Equal(t, []any{"a.service"}, *asked)
	})
}

// A name that no unit has is not passed on, and not quoted at length.
func TestBadUnitNames(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		long := make([]byte, 1<<20)
		for _, name := range []string{"", "a", "a\x00.service", "a*.service", "é.service", string(long) + ".service", "@.service"} {
			for call, err := range map[string]error{
				"run":         m.Run(t.Context(), Start, name),
				"kill":        m.Kill(t.Context(), name, 9),
				"reset":       m.ResetFailed(t.Context(), name),
				"set":         m.SetProperties(t.Context(), name, nil),
				"transient":   m.StartTransient(t.Context(), name, nil),
				"wait for":    second(m.WaitProperty(t.Context(), name, "SubState", "dead")),
				"settled":     second(m.WaitSettled(t.Context(), name)),
				"instances":   second(m.Instances(t.Context(), name)),
				"n instances": second(m.WaitInstances(t.Context(), name, 1)),
				"property":    second(m.Property(t.Context(), name, "SubState")),
				"properties":  second(m.Properties(t.Context(), name)),
			} {
				assert.ErrorAs(t, err, new(*NameError), "%s %.20q", call, name)
				assert.Less(t, len(err.Error()), 500)
			}
		}
		assert.Zero(t, f.dialed)
		_, err := m.WaitUnit(t.Context(), "a\x00.service", "active")
		assert.ErrorAs(t, err, new(*NameError))
	})
}

func second[T any](_ T, err error) error { return err }
