package systemd

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What systemd announces is kept, with the guest's time of a state, and each state once.
func TestChanges(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a-b@1.service", "inactive", "dead", nil)
		_, err := m.Conn(t.Context())
		require.NoError(t, err)
		f.set("a-b@1.service", props{"ActiveState": "inactive", "SubState": "dead", "StateChangeTimestamp": uint64(0)})
		f.managerSignal("JobNew", uint32(7), fakeJobPath, "a-b@1.service")
		state := func(active, sub string) {
			f.set("a-b@1.service", props{"ActiveState": active, "SubState": sub, "StateChangeTimestamp": uint64(5_000_000)})
		}
		state("activating", "start")
		state("activating", "start")
		f.emit(objectPath("a-b@1.service"), "org.freedesktop.DBus.Properties", "PropertiesChanged",
			"org.freedesktop.systemd1.Service", map[string]godbus.Variant{"Result": godbus.MakeVariant("exit-code")}, []string{})
		state("failed", "failed")
		f.managerSignal("JobRemoved", uint32(7), fakeJobPath, "a-b@1.service", "failed")
		synctest.Wait()
		var texts []string
		for _, c := range m.Changes() {
			assert.Equal(t, "a-b@1.service", c.Unit)
			if !strings.HasPrefix(c.What, "job ") {
				assert.Equal(t, time.UnixMicro(5_000_000), c.At)
			}
			texts = append(texts, c.What)
		}
		assert.Equal(t, []string{"job 7 was queued", "activating (start)", "failed (failed), result exit-code", "job 7 ended: failed"}, texts)
	})
}

// A guest cannot fill the host's memory with its signals.
func TestChangesAreBounded(t *testing.T) {
	var c changes
	changed := func(i int, of string, properties map[string]godbus.Variant) {
		c.see(&godbus.Signal{Name: "org.freedesktop.DBus.Properties.PropertiesChanged", Path: objectPath(fmt.Sprintf("a%d.service", i)),
			Body: []any{of, properties, []string{}}})
	}
	for i := range maxUnits + maxChanges {
		changed(i, "org.freedesktop.systemd1.Service", map[string]godbus.Variant{"Result": godbus.MakeVariant("success")})
	}
	assert.LessOrEqual(t, len(c.results), maxUnits+1, "results of units without a state")
	for i := range maxUnits + maxChanges {
		changed(i, unitInterface, map[string]godbus.Variant{"ActiveState": godbus.MakeVariant("active"), "SubState": godbus.MakeVariant("running"),
			"StateChangeTimestamp": godbus.MakeVariant(uint64(1))})
	}
	assert.LessOrEqual(t, len(c.list), maxChanges)
	assert.LessOrEqual(t, len(c.last)+len(c.results), maxUnits+1)
	assert.Equal(t, fmt.Sprintf("a%d.service", maxUnits+maxChanges-1), c.list[len(c.list)-1].Unit, "the last ones are kept")
	before := len(c.list)
	c.see(&godbus.Signal{Name: managerInterface + ".JobNew", Body: []any{uint32(1), godbus.ObjectPath("/"), strings.Repeat("a", 1<<20)}})
	c.see(&godbus.Signal{Name: managerInterface + ".JobNew", Body: []any{strings.Repeat("1", 1<<20), godbus.ObjectPath("/"), "a.service"}})
	for _, body := range [][]any{
		{uint32(1), godbus.ObjectPath("/"), "a.service"},
		{uint64(1), godbus.ObjectPath("/"), "a.service", "done"},
		{uint32(1), godbus.ObjectPath("/"), "a.service", []string{"done"}},
		{uint32(1), godbus.ObjectPath("/"), "a.service", strings.Repeat("a", maxWord+1)},
	} {
		c.see(&godbus.Signal{Name: managerInterface + ".JobRemoved", Body: body})
	}
	assert.Equal(t, before, len(c.list), "names that no unit has, and signals that systemd does not send")
}

func TestUnitAt(t *testing.T) {
	for _, name := range []string{"a.service", "a-b@c_d.service", "1x.mount"} {
		assert.Equal(t, name, unitAt(objectPath(name)))
	}
	for _, path := range []godbus.ObjectPath{"/", unitPath + "a_2", unitPath + "a_zz"} {
		assert.Empty(t, unitAt(path))
	}
}
