package systemd

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/stretchr/testify/assert"
)

// A look that reads a unit which is not loaded is no reason for another look.
func TestWatchRestsOnAUnitThatIsNotLoaded(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "inactive", "dead", nil)
		f.loaded["a.service"] = false
		looks := 0
		watched := make(chan error, 1)
		go func() {
			watched <- m.Watch(t.Context(), func(ctx context.Context, conn *dbus.Conn) (string, bool, error) {
				looks++
				all, err := conn.GetAllPropertiesContext(ctx, "a.service")
				return "", all["ActiveState"] == "active", err
			})
		}()
		synctest.Wait()
		assert.Equal(t, 1, looks)
		f.unit("a.service", "active", "running", nil)
		f.managerSignal("UnitNew", "a.service", objectPath("a.service"))
		assert.NoError(t, <-watched)
	})
}

// A unit that is removed after it was there is a reason to look.
func TestWatchSeesARemoval(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		f.unit("a.service", "active", "running", nil)
		watched := make(chan error, 1)
		go func() {
			watched <- m.Watch(t.Context(), func(ctx context.Context, conn *dbus.Conn) (string, bool, error) {
				units, err := conn.ListUnitsFilteredContext(ctx, []string{"active"})
				return "", len(units) == 0, err
			})
		}()
		synctest.Wait()
		f.loaded["a.service"] = false
		f.managerSignal("UnitRemoved", "a.service", objectPath("a.service"))
		assert.NoError(t, <-watched)
	})
}

func TestWatchSaysWhatItSaw(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
		for saw, want := range map[string]string{"2 units": "; it is 2 units", "": "; nothing was seen"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := m.Watch(ctx, func(context.Context, *dbus.Conn) (string, bool, error) { return saw, false, nil })
			cancel()
			assert.ErrorContains(t, err, want)
		}
	})
}
