package systemd

import (
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeListen is an element of the property Listen.
type fakeListen struct{ Type, Address string }

func TestOverview(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "activating", "auto-restart", props{"NRestarts": uint32(4), "Type": "notify"})
		f.unit("b.service", "failed", "failed", props{"Description": "B"})
		f.unit("demo.socket", "active", "listening", props{
			"FragmentPath": "/run/systemd/system/demo.socket", "Accept": true, "NAccepted": uint32(3), "NConnections": uint32(1),
			"Listen": []fakeListen{{"Stream", "127.0.0.1:9091"}, {"Stream", "[::1]:9091"}},
		})
		f.unit("dbus.socket", "active", "running", props{"FragmentPath": "/usr/lib/systemd/system/dbus.socket"})
		f.unit("etc.socket", "failed", "failed", props{"FragmentPath": "/etc/systemd/system/etc.socket", "Result": "resources", "Accept": false, "Listen": []fakeListen{}})
		f.unit("masked.socket", "inactive", "dead", props{"LoadState": "masked", "FragmentPath": "/etc/systemd/system/masked.socket"})
		f.jobs = []dbus.JobStatus{{Id: 7, Unit: "a.service", JobType: "start", Status: "waiting", JobPath: "/", UnitPath: "/"}}
		o, err := m.Overview(t.Context(), []string{"a.service"})
		require.NoError(t, err)
		assert.Equal(t, Overview{
			Failed: []ListedUnit{{"b.service", "loaded", "failed", "failed", "B"}, {"etc.socket", "loaded", "failed", "failed", ""}},
			Jobs:   []Job{{ID: 7, Unit: "a.service", Type: "start", State: "waiting"}},
			Sockets: []Socket{
				{Name: "demo.socket", ActiveState: "active", SubState: "listening", Result: "success",
					Listen: []string{"127.0.0.1:9091 (Stream)", "[::1]:9091 (Stream)"}, Accept: true, Accepted: 3, Connected: 1},
				{Name: "etc.socket", ActiveState: "failed", SubState: "failed", Result: "resources"},
			},
			Looks: map[string]Look{"a.service": {"activating", "auto-restart", 4, "notify"}},
		}, o)
	})
}

// An overview that ends early has what was read before.
func TestOverviewThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("b.service", "failed", "failed", nil)
		f.on["ListJobs"] = func([]any) ([]any, error) {
			return nil, *godbus.NewError("org.freedesktop.DBus.Error.AccessDenied", []any{"no"})
		}
		o, err := m.Overview(t.Context(), nil)
		assert.EqualError(t, err, "list jobs: no")
		assert.Len(t, o.Failed, 1)
	})
}
