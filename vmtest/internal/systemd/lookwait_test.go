package systemd

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func socketProps(accepted, connections uint32) props {
	return props{"NAccepted": accepted, "NConnections": connections, "NRefused": uint32(0), "MemoryCurrent": uint64(1)}
}

// inBackground returns the error of a wait when it ends.
func inBackground(wait func() error) chan error {
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	return ended
}

func waitProperty(t *testing.T, m *Manager, unit, name string, want any) chan error {
	return inBackground(func() error {
		_, err := m.WaitProperty(t.Context(), unit, name, want)
		return err
	})
}

// setQuietly changes properties of a unit and announces nothing.
func (f *fakeSystemd) setQuietly(name string, p props) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, v := range p {
		f.units[name][k] = v
	}
}

// The end of a connection is announced by its service alone.
func TestWaitForACounter(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.socket", "active", "listening", socketProps(2, 1))
		waited := waitProperty(t, m, "a.socket", "NConnections", 0)
		synctest.Wait()
		f.setQuietly("a.socket", socketProps(2, 0))
		f.unit("b@0.service", "active", "running", nil)
		f.managerSignal("UnitRemoved", "b@0.service", objectPath("b@0.service"))
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, waited, "a signal of another unit")
		f.changed("a@0.service", props{"ActiveState": "inactive"})
		assert.NoError(t, <-waited)
	})
}

// systemd does not announce some properties at all.
func TestWaitForAPropertyThatIsNotAnnounced(t *testing.T) {
	for _, name := range []string{"NRefused", "MemoryCurrent"} {
		bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
			f.unit("a.socket", "active", "listening", socketProps(2, 1))
			waited := waitProperty(t, m, "a.socket", name, 5)
			time.Sleep(time.Second)
			synctest.Wait()
			assert.Empty(t, waited)
			f.setQuietly("a.socket", props{"NRefused": uint32(5), "MemoryCurrent": uint64(5)})
			time.Sleep(silentPause)
			synctest.Wait()
			if assert.NotEmpty(t, waited, name) {
				assert.NoError(t, <-waited)
			}
		})
	}
}

// What nothing can bring ends a wait at once, with what was seen last.
func TestWaitForAPropertyThatNothingBrings(t *testing.T) {
	for name, test := range map[string]struct {
		unit, property string
		want           any
		is             func(f *fakeSystemd)
		err            string
	}{
		"down": {"a.socket", "NAccepted", 3, func(f *fakeSystemd) {
			f.unit("a.socket", "inactive", "dead", socketProps(2, 0))
		}, "nothing will start it"},
		"failed": {"a.socket", "NAccepted", 3, func(f *fakeSystemd) {
			f.unit("a.socket", "failed", "failed", socketProps(2, 0))
		}, "the unit failed, and nothing will start it"},
		"too far": {"a.socket", "NAccepted", 1, func(f *fakeSystemd) {
			f.unit("a.socket", "active", "listening", socketProps(2, 0))
		}, "it only grows"},
		"none": {"a.service", "NRestarts", 1, func(f *fakeSystemd) {
			f.unit("b.service", "active", "running", nil)
			f.unit("a.service", "inactive", "dead", props{"LoadState": "not-found", "NRestarts": uint32(0)})
		}, "there is no such unit"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				test.is(f)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				_, err := m.WaitProperty(ctx, test.unit, test.property, test.want)
				require.NotErrorIs(t, err, context.DeadlineExceeded, "the wait for %s to be %v goes on", test.property, test.want)
				assert.ErrorContains(t, err, test.err)
				assert.ErrorIs(t, err, ErrStateUnreachable)
			})
		})
	}
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.socket", "active", "listening", socketProps(2, 0))
		_, err := m.WaitProperty(t.Context(), "a.socket", "NAcepted", 2)
		assert.ErrorAs(t, err, new(*PropertyError))
		_, err = m.WaitProperty(t.Context(), "a.socket", "NAccepted", "2")
		assert.EqualError(t, err, "2 of D-Bus type u does not fit into a string")
		_, err = m.WaitProperty(t.Context(), "a.socket", "NAccepted", nil)
		assert.ErrorContains(t, err, "nil is no value")
	})
}

// What may still come is waited for.
func TestWaitForAPropertyGoesOn(t *testing.T) {
	for name, is := range map[string]func(f *fakeSystemd){
		"open connections of a stopped socket": func(f *fakeSystemd) {
			f.unit("a.socket", "inactive", "dead", socketProps(2, 1))
		},
		"a job": func(f *fakeSystemd) {
			p := socketProps(2, 1)
			p["Job"] = fakeJob{7, "/"}
			f.unit("a.socket", "inactive", "dead", p)
		},
		"a number that does not fit": func(f *fakeSystemd) { f.unit("a.socket", "active", "listening", socketProps(2, 300)) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				is(f)
				waited := waitProperty(t, m, "a.socket", "NConnections", uint8(0))
				synctest.Wait()
				require.Empty(t, waited)
				f.unit("a.socket", "active", "listening", socketProps(2, 0))
				f.changed("a.socket", props{"ActiveState": "active"})
				assert.NoError(t, <-waited)
			})
		})
	}
	// A property of the unit's files may change while the unit is down.
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "inactive", "dead", props{"UnitFileState": "disabled"})
		waited := waitProperty(t, m, "a.service", "UnitFileState", "enabled")
		synctest.Wait()
		require.Empty(t, waited)
		f.setQuietly("a.service", props{"UnitFileState": "enabled"})
		f.managerSignal("UnitFilesChanged")
		assert.NoError(t, <-waited)
	})
}

func TestWaitSettled(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "activating", "start", nil)
		saw := make(chan map[string]any, 1)
		waited := inBackground(func() error {
			p, err := m.WaitSettled(t.Context(), "a.service")
			saw <- p
			return err
		})
		synctest.Wait()
		f.set("a.service", props{"ActiveState": "active", "Job": fakeJob{7, "/"}})
		synctest.Wait()
		require.Empty(t, waited, "the wait ended while a job was to come")
		f.set("a.service", props{"ActiveState": "deactivating", "Job": fakeJob{0, "/"}})
		synctest.Wait()
		require.Empty(t, waited, "the wait ended while the unit was on its way to another state")
		f.set("a.service", props{"ActiveState": "failed", "SubState": "failed"})
		assert.NoError(t, <-waited)
		assert.Equal(t, "failed", (<-saw)["SubState"])

		_, err := m.WaitSettled(t.Context(), "no-such.service")
		assert.ErrorIs(t, err, ErrNoUnit)
	})
}

func TestWaitInstances(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.socket", "active", "listening", nil)
		f.unit("a@1.service", "active", "running", nil)
		waited := inBackground(func() error {
			_, err := m.WaitInstances(t.Context(), "a@.service", 2)
			return err
		})
		synctest.Wait()
		assert.Empty(t, waited)
		f.unit("a@2.service", "active", "running", nil)
		f.managerSignal("UnitNew", "a@2.service", objectPath("a@2.service"))
		assert.NoError(t, <-waited)

		f.unit("a.socket", "inactive", "dead", nil)
		saw, err := m.WaitInstances(t.Context(), "a@.service", 3)
		assert.EqualError(t, err, "nothing will start more: a.socket is inactive")
		assert.ErrorIs(t, err, ErrStateUnreachable)
		assert.Len(t, saw, 2)
		f.unit("a@1.service", "failed", "failed", nil)
		_, err = m.WaitInstances(t.Context(), "a@.service", 0)
		assert.EqualError(t, err, "1 have failed, and stay until they are reset")
		assert.ErrorIs(t, err, ErrStateUnreachable)
		f.unit("c@1.service", "failed", "failed", props{"CollectMode": "inactive-or-failed"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = m.WaitInstances(ctx, "c@.service", 0)
		assert.ErrorIs(t, err, context.DeadlineExceeded, "it goes without a reset")

		// They end by themselves, and nothing is known of what starts those of another.
		ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = m.WaitInstances(ctx, "a@.service", 1)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = m.WaitInstances(ctx, "b@.service", 1)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// A unit without a file, which is gone when it has ended, was there.
func TestWaitForAUnitThatEndsForGood(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context, m *Manager) error{
		"property": func(ctx context.Context, m *Manager) error {
			return second(m.WaitProperty(ctx, "a.service", "SubState", "dead"))
		},
		"settled": func(ctx context.Context, m *Manager) error { return second(m.WaitSettled(ctx, "a.service")) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				f.unit("a.service", "deactivating", "stop-sigterm", nil)
				waited := inBackground(func() error { return wait(t.Context(), m) })
				synctest.Wait()
				require.Empty(t, waited)
				f.mu.Lock()
				delete(f.units, "a.service")
				delete(f.loaded, "a.service")
				f.mu.Unlock()
				f.changed("a.service", props{"ActiveState": "inactive"})
				assert.NoError(t, <-waited)
			})
		})
	}
}

// A signal that announces what is waited for needs no further look.
func TestWaitsTakeWhatSignalsAnnounce(t *testing.T) {
	for name, wait := range announcedWaits {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				f.unit("a.service", "activating", "start", nil)
				waited := inBackground(func() error { return wait(t.Context(), m) })
				synctest.Wait()
				require.Empty(t, waited)
				looks := f.count("Get") + f.count("GetAll")
				f.set("a.service", props{"ActiveState": "active", "SubState": "running"})
				assert.NoError(t, <-waited)
				assert.Equal(t, looks, f.count("Get")+f.count("GetAll"))
			})
		})
	}
}

var announcedWaits = map[string]func(context.Context, *Manager) error{
	"unit": func(ctx context.Context, m *Manager) error { return second(m.WaitUnit(ctx, "a.service", "running")) },
	"property": func(ctx context.Context, m *Manager) error {
		return second(m.WaitProperty(ctx, "a.service", "SubState", "running"))
	},
}

// A signal that is older than the last look counts for nothing.
func TestWaitsIgnoreOldSignals(t *testing.T) {
	for name, wait := range announcedWaits {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				f.unit("a.service", "deactivating", "stop", nil)
				before := func(method string) {
					f.on[method] = func(args []any) ([]any, error) {
						f.changed("a.service", props{"ActiveState": "active", "SubState": "running"})
						f.mu.Lock()
						delete(f.on, method)
						f.mu.Unlock()
						body, _, err := f.method(objectPath("a.service"), method, args)
						return body, err
					}
				}
				before("GetAll")
				before("Get")
				waited := inBackground(func() error { return wait(t.Context(), m) })
				synctest.Wait()
				assert.Empty(t, waited, "it took an old signal")
				f.set("a.service", props{"ActiveState": "active", "SubState": "running"})
				assert.NoError(t, <-waited)
			})
		})
	}
}
