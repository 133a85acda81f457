package scenarios

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A guest that powers off, reboots or crashes is seen as what it did, and whoever
// talks to it then learns that at once. See systemctl(1) and proc_sysrq(5).
func TestEndings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		command []string
		want    vmtest.Ending
		says    string
	}{
		{"poweroff", []string{"systemctl", "poweroff"}, vmtest.EndingPoweroff, "the guest powered off"},
		{"reboot", []string{"systemctl", "reboot"}, vmtest.EndingReboot, "the guest rebooted"},
		{"crash", []string{"sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger"}, vmtest.EndingPanic, "the guest's kernel panicked: sysrq triggered crash"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := vmtest.Start(t, vmtest.Config{})
			// The command may or may not live to tell its exit status.
			_, _ = g.Machine.Run(t.Context(), test.command...)
			got, err := g.Machine.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, test.want, got)

			_, err = g.Machine.Run(t.Context(), "true")
			var guest *vmtest.GuestError
			require.ErrorAs(t, err, &guest)
			assert.ErrorContains(t, err, test.says)
		})
	}
}
