package scenarios

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A guest that powers off, reboots or crashes has that ending, and every later call fails
// with it at once. See systemctl(1) and proc_sysrq(5).
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
		{"crash", []string{"sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger"}, vmtest.EndingPanic,
			`the guest's kernel panicked; the console shows: "Kernel panic - not syncing: sysrq triggered crash"`},
		{"poweroff after a unit's text", printed("Kernel panic - not syncing: fake", "systemctl poweroff --force --force"), vmtest.EndingPoweroff,
			`the guest powered off; the console shows: "Kernel panic - not syncing: fake"`},
		{"reboot after a unit's text", printed("Kernel panic - not syncing: fake", "systemctl reboot --force --force"), vmtest.EndingReboot,
			`the guest rebooted; the console shows: "Kernel panic - not syncing: fake"`},
		{"poweroff after init's text", printed("vmtest init: fake", "systemctl poweroff --force --force"), vmtest.EndingPoweroff,
			`the guest powered off; the console shows: "vmtest init: fake"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := vmtest.Start(t, vmtest.Config{})
			// The guest may end before the command's exit status arrives.
			_, _ = g.Machine.Run(t.Context(), test.command...)
			got, err := g.Machine.WaitEnding(t.Context())
			require.NoError(t, err)
			assert.Equal(t, test.want, got)

			_, err = g.Machine.Run(t.Context(), "true")
			var guest *vmtest.GuestError
			require.ErrorAs(t, err, &guest)
			assert.ErrorContains(t, err, test.says)
		})
	}
}

// printed is a command that prints text on the console and then runs another one.
func printed(text, then string) []string {
	return []string{"sh", "-c", fmt.Sprintf("echo %q >/dev/console; %s", text, then)}
}
