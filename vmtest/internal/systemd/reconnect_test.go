package systemd

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A systemd that re-executes itself ends its connections, and refuses new ones until it
// listens again.
func TestWaitsOutliveTheirConnection(t *testing.T) {
	for name, test := range map[string]struct {
		wait func(context.Context, *Manager) error
		end  func(*fakeSystemd)
	}{
		"unit": {
			func(ctx context.Context, m *Manager) error {
				_, err := m.WaitUnit(ctx, "a.service", "inactive")
				return err
			},
			func(f *fakeSystemd) { f.set("a.service", props{"ActiveState": "inactive", "SubState": "dead"}) },
		},
		"property": {
			func(ctx context.Context, m *Manager) error {
				_, err := m.WaitProperty(ctx, "a.service", "ActiveState", "inactive")
				return err
			},
			func(f *fakeSystemd) { f.set("a.service", props{"ActiveState": "inactive", "SubState": "dead"}) },
		},
		"properties": {
			func(ctx context.Context, m *Manager) error {
				_, err := m.WaitProperties(ctx, "a.service", func(p map[string]any) bool { return p["SubState"] == "dead" })
				return err
			},
			func(f *fakeSystemd) { f.set("a.service", props{"ActiveState": "inactive", "SubState": "dead"}) },
		},
		"instances": {
			func(ctx context.Context, m *Manager) error {
				_, err := m.WaitInstances(ctx, "b@.service", 1)
				return err
			},
			func(f *fakeSystemd) {
				f.unit("b@1.service", "active", "running", nil)
				f.managerSignal("UnitNew", "b@1.service", objectPath("b@1.service"))
			},
		},
		"watch": {
			func(ctx context.Context, m *Manager) error {
				return m.Watch(ctx, func(ctx context.Context, conn *dbus.Conn) (string, bool, error) {
					p, err := conn.GetUnitPropertiesContext(ctx, "a.service")
					return "", p["ActiveState"] == "inactive", err
				})
			},
			func(f *fakeSystemd) { f.set("a.service", props{"ActiveState": "inactive", "SubState": "dead"}) },
		},
		"state": {
			func(ctx context.Context, m *Manager) error {
				state, err := m.WaitState(ctx)
				if err == nil && state != "degraded" {
					err = errors.New("state is " + state)
				}
				return err
			},
			func(f *fakeSystemd) {
				f.state = "degraded"
				f.managerSignal("StartupFinished", uint64(1), uint64(1), uint64(1), uint64(1), uint64(1), uint64(1))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
				f.state = "starting"
				f.unit("a.service", "active", "running", nil)
				ended := make(chan error, 1)
				go func() { ended <- test.wait(t.Context(), m) }()
				synctest.Wait()
				for _, refusal := range []error{fs.ErrNotExist, syscall.ECONNREFUSED} {
					f.mu.Lock()
					f.refusing = refusal
					f.mu.Unlock()
					f.hangUp()
					time.Sleep(5 * time.Second)
					synctest.Wait()
					require.Empty(t, ended, "the wait ended")
				}
				f.mu.Lock()
				f.refusing = nil
				f.mu.Unlock()
				time.Sleep(5 * time.Second)
				synctest.Wait()
				require.Empty(t, ended, "the wait ended")
				test.end(f)
				assert.NoError(t, <-ended)
			})
		})
	}
}

// What came about while there was no connection is seen after it.
func TestWaitLooksAgainOnANewConnection(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "active", "running", nil)
		waited := waitInBackground(t.Context(), m, "a.service", "inactive")
		synctest.Wait()
		f.unit("a.service", "inactive", "dead", nil) // unannounced
		f.hangUp()
		assert.NoError(t, <-waited)
	})
}

func TestWaitEndsWithTheGuest(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "active", "running", nil)
		waited := waitInBackground(t.Context(), m, "a.service", "inactive")
		synctest.Wait()
		gone := errors.New("the link is lost")
		f.mu.Lock()
		f.refusing = gone
		f.mu.Unlock()
		f.hangUp()
		assert.ErrorIs(t, <-waited, gone)
	})
}

// A systemd that accepts each connection and ends it is not asked without a pause.
func TestReconnectingPauses(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		// It ends between two attempts. An attempt that begins as ctx ends would count too.
		const during = 5*time.Second + redialPause/2
		ctx, cancel := context.WithTimeout(t.Context(), during)
		defer cancel()
		f.on["Get"] = func([]any) ([]any, error) {
			if f.count("Get") > 1000 {
				cancel()
			}
			f.hangUp()
			return nil, nil
		}
		_, err := m.WaitState(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		// One at the beginning, one without a pause after it, and one after each pause.
		assert.LessOrEqual(t, f.count("Get"), 2+int(during/redialPause))
	})
}
