package scenarios

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// After a power loss a machine boots with all that was synced before: files, its machine
// ID, and an enabled unit. A file that rename(2) replaced without a sync of the directory
// is either the old or the new one, but never a mixture. See sync(1), machine-id(5).
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
	assert.ErrorContains(t, err, "snapshots hold no disk")

	g.WriteFile(t, "/etc/replacement", []byte("new"), 0o644)
	g.Run(t, "sync", "/etc/replacement")
	g.Run(t, "mv", "/etc/replacement", "/etc/replaced")
	g.Kill(t)
	ending, err := g.Machine.WaitEnding(t.Context())
	require.NoError(t, err)
	assert.Equal(t, vmtest.EndingKilled, ending)

	g = vmtest.Start(t, config)
	assert.Contains(t, []string{"old", "new"}, string(g.ReadFile(t, "/etc/replaced")))
	assert.Equal(t, id, g.Run(t, "cat", "/etc/machine-id"))
	assertRunning(t, g)
	want, boots := "active", 2
	if g.Machine.Image().RuntimeUnits() {
		want, boots = "inactive", 1 // /run is in RAM
	}
	assert.Equal(t, want, g.Unit("boots.service").Show(t, "ActiveState")["ActiveState"])
	assert.Len(t, strings.Fields(string(g.ReadFile(t, "/var/lib/boots/ids"))), boots, "boots recorded by the unit")
}
