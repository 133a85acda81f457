package systemd

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// An end that systemd announces is one from version 254 on, and costs no further call. Before,
// it may be one on the way to a restart.
func TestWaitForAnEnd(t *testing.T) {
	for version, looks := range map[string]int{"257.9-1": 1, "252.30": 2} {
		bubble(t, func(t *testing.T, f *fakeSystemd, m *Manager) {
			f.version = version
			f.unit("a.service", "active", "running", nil)
			waited := waitInBackground(t.Context(), m, "a.service", "inactive")
			synctest.Wait()
			f.set("a.service", props{"ActiveState": "inactive", "SubState": "dead"})
			assert.NoError(t, <-waited)
			assert.Equal(t, looks, f.count("GetAll"), "looks at the unit of systemd %s", version)
		})
	}
}
