package scenarios

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A machine that loses its power comes up with what was synced before: files, its
// identity, and a unit that systemd starts at boot because it was enabled. A file that
// is replaced by rename(2) is the old or the new one, never half of either; without a
// sync of its folder nothing says which. See sync(1), machine-id(5).
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	config := vmtest.Config{Disk: vmtest.NewDisk(t, 0)}
	g := vmtest.Start(t, config)
	g.CopyFS(t, os.DirFS("testdata/power-loss"), unitDir(g))
	g.DaemonReload(t)
	g.EnableNow(t, "boots.service")
	g.WriteFile(t, "/etc/replaced", []byte("old"), 0o644)
	g.Run(t, "sync")
	id := g.Run(t, "cat", "/etc/machine-id")

	_, err := g.Machine.Snapshot(t.Context())
	assert.ErrorContains(t, err, "a snapshot holds no disk")

	g.WriteFile(t, "/etc/replacement", []byte("new"), 0o644)
	g.Run(t, "sync", "/etc/replacement")
	g.Run(t, "mv", "/etc/replacement", "/etc/replaced")
	g.Kill(t)
	ending, err := g.Machine.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, vmtest.EndingKilled, ending)

	g = vmtest.Start(t, config)
	assert.Contains(t, []string{"old", "new"}, string(g.ReadFile(t, "/etc/replaced")))
	assert.Equal(t, id, g.Run(t, "cat", "/etc/machine-id"))
	assert.Equal(t, "running\n", g.Run(t, "systemctl", "is-system-running"))
	want, boots := "active", 2
	if g.Machine.Image().RuntimeUnits() {
		want, boots = "inactive", 1 // what is below /run is in RAM
	}
	assert.Equal(t, want, g.Unit("boots.service").Show(t, "ActiveState")["ActiveState"])
	assert.Len(t, strings.Fields(string(g.ReadFile(t, "/var/lib/boots/ids"))), boots, "boots noted by the unit")
}
