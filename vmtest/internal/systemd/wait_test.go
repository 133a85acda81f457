package systemd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// props are properties of a fake unit.
type props = map[string]any

func triggeredBy(names ...string) props { return props{"TriggeredBy": names} }

// bubble runs test with a fake systemd in a bubble of its own, where synctest.Wait returns
// once all is at rest.
func bubble(t *testing.T, test func(t *testing.T, f *fakeSystemd, m *Manager)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f, m := newFake(t)
		test(t, f, m)
	})
}

// A wait ends at once, without a deadline, when the state cannot come by itself.
func TestWaitEndsAtOnce(t *testing.T) {
	for _, test := range []struct {
		name, unit, want string
		is               func(f *fakeSystemd)
		err              string
	}{
		{"never started", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", nil)
		}, "nothing will start it: it has no job, and nothing that is active triggers it"},
		{"start refused", "a.socket", "listening", func(f *fakeSystemd) {
			f.unit("a.socket", "inactive", "dead", nil)
		}, "nothing will start it: it has no job, and nothing that is active triggers it"},
		{"not loaded", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", nil)
			f.loaded["a.service"] = false
		}, "nothing will start it: it has no job, and nothing that is active triggers it"},
		{"ended oneshot", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", props{"Result": "success"})
		}, "nothing will start it: it has no job, and nothing that is active triggers it"},
		{"exited", "a.service", "running", func(f *fakeSystemd) {
			f.unit("a.service", "active", "exited", nil)
		}, "nothing will change it: it has no job"},
		{"no such unit", "a.service", "active", func(*fakeSystemd) {}, "there is no such unit"},
		{"masked", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", props{"LoadState": "masked", "LoadError": fakeError{managerName + ".UnitMasked", "Unit a.service is masked."}})
		}, "it cannot be started: it is masked: Unit a.service is masked."},
		{"misspelt", "a.service", "runing", func(f *fakeSystemd) {
			f.unit("a.service", "active", "running", nil)
		}, `no service has the state "runing"; nearest: running`},
		{"of another type", "a.socket", "running", func(f *fakeSystemd) {
			f.unit("a.socket", "failed", "failed", props{"Result": "resources"})
		}, "the unit failed"},
		{"no type", "a", "active", func(*fakeSystemd) {}, `"a" is not the name of a unit: it has no type`},
		{"timer elapsed", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", triggeredBy("a.timer"))
			f.unit("a.timer", "active", "elapsed", nil)
		}, "nothing that is active triggers it"},
		{"wanted by what is up", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", props{"WantedBy": []string{"multi-user.target"}, "RequiredBy": []string{"-.mount"}})
			f.unit("multi-user.target", "active", "active", nil)
			f.unit("-.mount", "active", "mounted", nil)
		}, "nothing that is active triggers it"},
		{"triggers are down", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", triggeredBy("a.socket", "a.path"))
			f.unit("a.socket", "inactive", "dead", nil)
			f.unit("a.path", "failed", "failed", nil)
		}, "nothing that is active triggers it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				test.is(f)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				_, err := m.WaitUnit(ctx, test.unit, test.want)
				require.NotErrorIs(t, err, context.DeadlineExceeded, "the wait goes on")
				assert.ErrorContains(t, err, test.err)
				unreachable := !errors.Is(err, errFailed) && !errors.As(err, new(*StateError))
				assert.Equal(t, unreachable, errors.Is(err, ErrStateUnreachable))
			})
		})
	}
}

func TestWaitSeesTheStateItWaitsFor(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "active", "running", nil)
		for _, want := range []string{"active", "running"} {
			saw, err := m.WaitUnit(t.Context(), "a.service", want)
			require.NoError(t, err)
			assert.Equal(t, UnitState{ID: "a.service", LoadState: "loaded", ActiveState: "active", SubState: "running"}, saw)
		}
	})
}

func TestWaitFailsWithTheUnit(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "failed", "failed", props{"Result": "exit-code", "ExecMainCode": int32(1), "ExecMainStatus": int32(3)})
		saw, err := m.WaitUnit(t.Context(), "a.service", "active")
		assert.ErrorIs(t, err, errFailed)
		assert.Equal(t, "exit-code", saw.Result)
		assert.Equal(t, [2]int32{1, 3}, [2]int32{saw.MainCode, saw.MainStatus})

		f.unit("a.service", "inactive", "dead", props{"Result": "success", "ExecMainCode": int32(2), "ExecMainStatus": int32(15)})
		saw, err = m.WaitUnit(t.Context(), "a.service", "active")
		assert.ErrorIs(t, err, ErrStateUnreachable)
		assert.Empty(t, saw.Result)
		assert.Equal(t, [2]int32{2, 15}, [2]int32{saw.MainCode, saw.MainStatus})
	})
}

// A unit that may still get there is waited for, and its coming ends the wait.
func TestWaitGoesOn(t *testing.T) {
	for _, test := range []struct {
		name, unit, want string
		is               func(f *fakeSystemd)
		err              string // of a deadline
	}{
		{"with a job", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", props{"Job": fakeJob{7, "/org/freedesktop/systemd1/job/7"}})
		}, ""},
		{"failed, with a job", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "failed", "failed", props{"Job": fakeJob{7, "/org/freedesktop/systemd1/job/7"}})
		}, ""},
		{"about to restart", "a.service", "running", func(f *fakeSystemd) {
			f.unit("a.service", "activating", "auto-restart", nil)
		}, ""},
		{"failed, about to restart", "a.service", "failed", func(f *fakeSystemd) {
			f.unit("a.service", "failed", "failed-before-auto-restart", nil)
		}, ""},
		{"dead, about to restart", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead-before-auto-restart", nil)
		}, ""},
		{"triggered", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", triggeredBy("a.timer", "a.path"))
			f.unit("a.timer", "active", "waiting", nil)
			f.unit("a.path", "inactive", "dead", nil)
		}, "it has no job, and may still be started by a.timer (waiting)"},
		{"triggered by what is triggered", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", triggeredBy("a.socket"))
			f.unit("a.socket", "inactive", "dead", triggeredBy("b.path"))
			f.unit("b.path", "active", "waiting", nil)
		}, "may still be started by b.path (waiting)"},
		{"a trigger about to start", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", triggeredBy("a.socket"))
			f.unit("a.socket", "inactive", "dead", props{"Job": fakeJob{7, "/org/freedesktop/systemd1/job/7"}})
		}, "may still be started by a.socket (dead)"},
		{"after a failure of another", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", props{"OnFailureOf": []string{"b.service"}})
			f.unit("b.service", "active", "running", nil)
		}, "may still be started by b.service (running)"},
		{"upheld", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", props{"UpheldBy": []string{"b.target"}})
			f.unit("b.target", "active", "active", nil)
		}, "may still be started by b.target (active)"},
		{"wanted by a device", "a.service", "active", func(f *fakeSystemd) {
			f.unit("a.service", "inactive", "dead", props{"WantedBy": []string{"multi-user.target", "dev-x.device"}})
			f.unit("multi-user.target", "active", "active", nil)
		}, "may still be started by dev-x.device (dead)"},
		{"instance of a socket", "a@0.service", "active", func(f *fakeSystemd) {
			f.unit("a@0.service", "inactive", "dead", nil)
			f.loaded["a@0.service"] = false
			f.unit("a.socket", "active", "listening", nil)
		}, "may still be started by a.socket (listening)"},
		{"mounted by anybody", "mnt.mount", "mounted", func(*fakeSystemd) {}, ""},
		{"a device", "dev-vdb.device", "plugged", func(*fakeSystemd) {}, ""},
		{"active and to end", "a.service", "inactive", func(f *fakeSystemd) {
			f.unit("a.service", "active", "running", nil)
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				test.is(f)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				saw, err := m.WaitUnit(ctx, test.unit, test.want)
				require.ErrorIs(t, err, context.DeadlineExceeded, "the wait is over, although the unit may still get there")
				assert.ErrorContains(t, err, test.err)
				assert.NotEmpty(t, saw.ActiveState)
			})
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				test.is(f)
				waited := waitInBackground(t.Context(), m, test.unit, test.want)
				synctest.Wait()
				assert.Empty(t, waited, "the wait ended")
				f.unit(test.unit, test.want, test.want, nil)
				f.managerSignal("UnitNew", test.unit, objectPath(test.unit))
				assert.NoError(t, <-waited)
			})
		})
	}
}

func waitInBackground(ctx context.Context, m *Manager, unit, want string) chan error {
	waited := make(chan error, 1)
	go func() {
		_, err := m.WaitUnit(ctx, unit, want)
		waited <- err
	}()
	return waited
}

// Before systemd 249 a unit does not list the units that start it when they fail.
func TestWaitForAFailureHandlerOfAnOldSystemd(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "inactive", "dead", nil)
		delete(f.units["a.service"], "OnFailureOf")
		f.unit("b.service", "active", "running", props{"OnFailure": []string{"a.service"}})
		f.unit("c.service", "active", "running", props{"OnFailure": []string{}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := m.WaitUnit(ctx, "a.service", "active")
		assert.ErrorContains(t, err, "may still be started by b.service (running)")
	})
}

func TestWaitEndsWithItsLastTrigger(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "inactive", "dead", triggeredBy("a.timer"))
		f.unit("a.timer", "active", "waiting", nil)
		waited := waitInBackground(t.Context(), m, "a.service", "active")
		synctest.Wait()
		f.set("a.timer", props{"ActiveState": "inactive", "SubState": "dead"})
		assert.ErrorContains(t, <-waited, "nothing will start it")
	})
}

// A look at a unit that is not loaded makes systemd load it, unload it and announce both,
// which is no reason for another look.
func TestWaitRestsOnAUnitThatIsNotLoaded(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.socket", "active", "listening", nil)
		waited := waitInBackground(t.Context(), m, "a@0.service", "active")
		assert.ErrorContains(t, <-waited, "there is no such unit")
		synctest.Wait() // until the signals of that look have passed

		f.unit("a@0.service", "inactive", "dead", nil)
		f.loaded["a@0.service"] = false
		before := f.count("GetAll")
		waited = waitInBackground(t.Context(), m, "a@0.service", "active")
		synctest.Wait()
		assert.Empty(t, waited)
		assert.LessOrEqual(t, f.count("GetAll")-before, 2, "looks at the unit and its socket")

		before = f.count("GetAll")
		f.unit("b.service", "active", "running", nil) // another unit
		f.managerSignal("UnitNew", "b.service", objectPath("b.service"))
		f.managerSignal("JobRemoved", uint32(3), godbus.ObjectPath("/org/freedesktop/systemd1/job/3"), "b.service", "done")
		f.changed("b.service", props{"ActiveState": "active"})
		synctest.Wait()
		assert.Equal(t, before, f.count("GetAll"), "looks after signals about another unit")

		f.unit("a@0.service", "active", "running", nil)
		f.managerSignal("JobNew", uint32(4), godbus.ObjectPath("/org/freedesktop/systemd1/job/4"), "a@0.service")
		assert.NoError(t, <-waited)
	})
}

func TestWaitByAliasTakesSignalsOfTheUnit(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "active", "running", nil)
		f.aliases["alias.service"] = "a.service"
		waited := waitInBackground(t.Context(), m, "alias.service", "inactive")
		synctest.Wait()
		f.set("a.service", props{"ActiveState": "inactive", "SubState": "dead"})
		assert.NoError(t, <-waited)
	})
}
