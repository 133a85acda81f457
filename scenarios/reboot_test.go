package scenarios

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A guest that reboots comes up as its image is, with a new boot ID, and its machine can
// be used as before. See systemctl(1).
func TestReboot(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{BootTimeout: time.Minute})
	g.WriteFile(t, "/etc/written", []byte("before"), 0o644)
	before := g.Run(t, "cat", "/proc/sys/kernel/random/boot_id")
	require.NoError(t, g.Machine.Reboot(t.Context()))
	assert.NotEqual(t, before, g.Run(t, "cat", "/proc/sys/kernel/random/boot_id"))
	r := g.Exec(t, vmtest.Command{Args: []string{"cat", "/etc/written"}})
	assert.Equal(t, 1, r.ExitCode, "exit status of cat for a file that was written before the reboot")
	assertRunning(t, g)
}

// A soft reboot keeps the kernel and the files, and starts user space again. See
// systemd-soft-reboot.service(8).
func TestSoftReboot(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{BootTimeout: time.Minute})
	softReboot.need(t, g)
	g.WriteFile(t, "/etc/written", []byte("before"), 0o644)
	g.Run(t, "systemd-run", "--unit=mortal", "sleep", "infinity")
	before := g.Run(t, "cat", "/proc/sys/kernel/random/boot_id")
	require.NoError(t, g.Machine.SoftReboot(t.Context()))
	assert.Equal(t, before, g.Run(t, "cat", "/proc/sys/kernel/random/boot_id"), "the kernel's boot ID")
	assert.Equal(t, "before", string(g.ReadFile(t, "/etc/written")))
	assert.Equal(t, "inactive", g.Unit("mortal.service").Show(t, "ActiveState")["ActiveState"])
}

// A reboot whose context has ended, as in a clean-up, does nothing to the machine.
func TestRebootWithAnEndedContext(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, g.Machine.Reboot(ctx), context.Canceled)
	assert.ErrorIs(t, g.Machine.SoftReboot(ctx), context.Canceled)
	_, err := g.Machine.Snapshot(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	g.Run(t, "true")
}
