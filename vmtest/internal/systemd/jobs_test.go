package systemd

import (
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInspect(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "failed", "failed", props{
			"Result": "exit-code", "ExecMainCode": int32(1), "ExecMainStatus": int32(217),
			"ConditionResult": false, "ConditionTimestamp": uint64(5), "Conditions": failedCondition,
			"AssertResult": false, "AssertTimestamp": uint64(5), "Asserts": []fakeCheck{{"AssertUser", true, true, "root", -1}},
		})
		f.aliases["alias.service"] = "a.service"
		job := func(id uint32, unit, kind, state string) dbus.JobStatus {
			return dbus.JobStatus{Id: id, Unit: unit, JobType: kind, Status: state, JobPath: "/", UnitPath: "/"}
		}
		f.jobs = []dbus.JobStatus{job(7, "a.service", "start", "waiting"), job(8, "b.service", "stop", "running"), job(9, "dev-x.device", "start", "running")}
		f.after[7] = f.jobs[1:]
		d, err := m.Inspect(t.Context(), "alias.service")
		require.NoError(t, err)
		assert.Equal(t, Details{
			UnitState: UnitState{ID: "a.service", LoadState: "loaded", ActiveState: "failed", SubState: "failed", Result: "exit-code", MainCode: 1, MainStatus: 217},
			Unmet:     []string{"ConditionPathExists=!/run/no", "AssertUser=|!root"},
			Jobs: []Job{{ID: 7, Unit: "a.service", Type: "start", State: "waiting", After: []Job{
				{ID: 8, Unit: "b.service", Type: "stop", State: "running"}, {ID: 9, Unit: "dev-x.device", Type: "start", State: "running"},
			}}},
		}, d)
		assert.Equal(t, "job 7 (start a.service, waiting), which waits for job 8 (stop b.service, running), job 9 (start dev-x.device, running)", d.Jobs[0].String())
	})
}

// A condition that has not been tried is not false, though ConditionResult is.
func TestInspectAUnitThatWasNeverStarted(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "inactive", "dead", props{"ConditionResult": false, "ConditionTimestamp": uint64(0), "Conditions": untested})
		d, err := m.Inspect(t.Context(), "a.service")
		require.NoError(t, err)
		assert.Equal(t, Details{UnitState: UnitState{ID: "a.service", LoadState: "loaded", ActiveState: "inactive", SubState: "dead"}}, d)
	})
}

// A job may end between two calls.
func TestInspectAJobThatEnds(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "active", "running", nil)
		f.jobs = []dbus.JobStatus{{Id: 7, Unit: "a.service", JobPath: "/", UnitPath: "/"}}
		f.on["GetJobBefore"] = func([]any) ([]any, error) {
			return nil, *godbus.NewError(managerName+".NoSuchJob", []any{"Job 7 does not exist."})
		}
		d, err := m.Inspect(t.Context(), "a.service")
		require.NoError(t, err)
		assert.Empty(t, d.Jobs)
	})
}
