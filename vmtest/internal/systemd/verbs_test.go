package systemd

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const fakeJobPath = godbus.ObjectPath(managerPath + "/job/7")

// queues makes the fake answer a method with the path of a job, and call then.
func (f *fakeSystemd) queues(method string, then func()) {
	f.on[method] = func([]any) ([]any, error) {
		go then()
		return []any{fakeJobPath}, nil
	}
}

func (f *fakeSystemd) ends(unit, result string) {
	f.managerSignal("JobRemoved", uint32(6), godbus.ObjectPath(managerPath+"/job/6"), unit, "failed") // another
	f.managerSignal("JobRemoved", uint32(7), fakeJobPath, unit, result)
}

func TestVerbsWaitForTheirJob(t *testing.T) {
	for verb, method := range methods {
		t.Run(string(verb), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				f.unit("a.service", "active", "running", nil)
				var asked []any
				f.on[method] = func(args []any) ([]any, error) {
					asked = args
					return []any{fakeJobPath}, nil
				}
				done := make(chan error, 1)
				go func() { done <- m.Run(t.Context(), verb, "a.service") }()
				synctest.Wait()
				assert.Empty(t, done, "it did not wait")
				assert.Equal(t, []any{"a.service", "replace"}, asked)
				f.ends("a.service", "done")
				assert.NoError(t, <-done)
			})
		})
	}
}

func TestAJobThatIsNotDone(t *testing.T) {
	for _, result := range []string{"canceled", "timeout", "failed", "dependency", "skipped", "invalid", "assert", "unsupported", "collected", "once", "frozen", "concurrency"} {
		bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
			f.unit("a.service", "failed", "failed", nil)
			f.queues("StartUnit", func() { f.ends("a.service", result) })
			err := m.Run(t.Context(), Start, "a.service")
			assert.Equal(t, &JobError{ID: 7, Result: result}, err, "a start whose job ended with %q", result)
			assert.EqualError(t, err, `job 7 ended with result "`+result+`"`)
		})
	}
}

func TestAVerbThatSystemdRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.on["StartUnit"] = func([]any) ([]any, error) {
			return nil, *godbus.NewError(managerName+".NoSuchUnit", []any{"Unit a.service not found."})
		}
		assert.EqualError(t, m.Run(t.Context(), Start, "a.service"), "Unit a.service not found.")
	})
}

var (
	failedCondition = []fakeCheck{{"ConditionPathExists", false, true, "/run/no", -1}, {"ConditionHost", true, false, "a", 1}}
	untested        = []fakeCheck{{"ConditionPathExists", false, true, "/run/no", 0}}
)

// To systemd a start is done when a condition is false, and the unit is down.
func TestAStartWithAFalseCondition(t *testing.T) {
	const want = "it did not start because a condition was false: ConditionPathExists=!/run/no"
	const unmet = "start of a unit whose condition is false"
	t.Run("kept", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
			f.unit("a.service", "inactive", "dead", props{"ConditionResult": false, "ConditionTimestamp": uint64(5), "Conditions": failedCondition})
			f.queues("StartUnit", func() { f.ends("a.service", "done") })
			assert.EqualError(t, m.Run(t.Context(), Start, "a.service"), want, unmet)
		})
	})
	t.Run("unloaded", func(t *testing.T) { // which is how systemd forgets the result
		bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
			f.unit("a.service", "inactive", "dead", props{"ConditionResult": false, "ConditionTimestamp": uint64(0), "Conditions": untested})
			f.loaded["a.service"] = false
			f.queues("RestartUnit", func() {
				f.changed("a.service", props{"ActiveState": "inactive", "ConditionResult": false, "ConditionTimestamp": uint64(5)})
				f.ends("a.service", "done")
			})
			assert.EqualError(t, m.Run(t.Context(), Restart, "a.service"), want, unmet)
		})
	})
	t.Run("unloaded, of two", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
			both := []fakeCheck{untested[0], {"ConditionHost", true, false, "a", 0}}
			f.unit("a.service", "inactive", "dead", props{"ConditionResult": false, "ConditionTimestamp": uint64(0), "Conditions": both})
			f.queues("StartUnit", func() {
				f.changed("a.service", props{"ActiveState": "inactive", "ConditionResult": false, "ConditionTimestamp": uint64(5)})
				f.ends("a.service", "done")
			})
			assert.EqualError(t, m.Run(t.Context(), Start, "a.service"),
				"it did not start because a condition was false, one of these: ConditionPathExists=!/run/no, ConditionHost=|a", unmet)
		})
	})
	t.Run("oneshot that ended", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
			f.unit("a.service", "inactive", "dead", props{"ConditionResult": true, "ConditionTimestamp": uint64(5), "Conditions": []fakeCheck{}})
			f.queues("StartUnit", func() { f.ends("a.service", "done") })
			assert.NoError(t, m.Run(t.Context(), Start, "a.service"))
		})
	})
	t.Run("active since before", func(t *testing.T) {
		bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
			f.unit("a.service", "active", "running", props{"ConditionResult": false, "ConditionTimestamp": uint64(5), "Conditions": failedCondition})
			f.queues("StartUnit", func() { f.ends("a.service", "done") })
			assert.NoError(t, m.Run(t.Context(), Start, "a.service"))
		})
	})
}

func TestAVerbOutlivesItsConnection(t *testing.T) {
	for name, test := range map[string]struct {
		active, err string
		running     bool // the job goes on after the reconnect
	}{
		"job goes on":    {"inactive", "", true},
		"job is over":    {"active", "", false},
		"job ended how?": {"failed", "job 7 ended while there was no connection to systemd, and its result is not known", false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				f.unit("a.service", "activating", "start", nil)
				f.queues("StartUnit", func() {})
				done := make(chan error, 1)
				go func() { done <- m.Run(t.Context(), Start, "a.service") }()
				synctest.Wait()
				f.unit("a.service", test.active, "dead", nil)
				if test.running {
					f.jobs = []dbus.JobStatus{{Id: 7, Unit: "a.service", JobType: "start", Status: "running", JobPath: fakeJobPath, UnitPath: "/"}}
				}
				f.hangUp()
				synctest.Wait()
				if test.running {
					assert.Empty(t, done)
					f.ends("a.service", "done")
				}
				err := <-done
				if test.err == "" {
					assert.NoError(t, err)
				} else {
					assert.EqualError(t, err, test.err)
				}
				assert.Equal(t, 1, f.count("StartUnit"), "it is queued once")
			})
		})
	}
}

// A call is not made twice if its answer does not come: it may have been heard.
func TestAVerbWithoutAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.on["RestartUnit"] = func([]any) ([]any, error) {
			f.hangUp()
			return nil, nil
		}
		err := m.Run(t.Context(), Restart, "a.service")
		assert.ErrorIs(t, err, errUnanswered)
		assert.Equal(t, 1, f.count("RestartUnit"))
	})
}

func TestAVerbEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.queues("StartUnit", func() {})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := m.Run(ctx, Start, "a.service")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "job 7 is not done: ")
	})
}

func TestKill(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		var asked []any
		f.on["KillUnit"] = func(args []any) ([]any, error) {
			asked = args
			return nil, nil
		}
		require.NoError(t, m.Kill(t.Context(), "a.service", 9))
		assert.Equal(t, []any{"a.service", "all-fail", int32(9)}, asked)
		f.on["KillUnit"] = func([]any) ([]any, error) {
			return nil, *godbus.NewError("org.freedesktop.DBus.Error.Failed", []any{"No process to kill."})
		}
		assert.EqualError(t, m.Kill(t.Context(), "a.service", 9), "No process to kill.")
	})
}
