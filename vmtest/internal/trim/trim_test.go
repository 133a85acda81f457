package trim

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEveryLineHasAReason(t *testing.T) {
	items, err := List()
	require.NoError(t, err)
	require.NotEmpty(t, items)
	seen := map[string]bool{}
	for _, i := range items {
		assert.Greater(t, len(i.Reason), 5, "reason of %s", i.Name)
		assert.False(t, seen[i.Name], "%s is listed twice", i.Name)
		seen[i.Name] = true
	}
}

// Units that run once at boot cost a fork nothing, and what they leave behind is what
// other units see. An item with inputs comes back with these.
func TestUnitsOfTheBootStay(t *testing.T) {
	items, err := List()
	require.NoError(t, err)
	for _, i := range items {
		if len(i.Unless) > 0 {
			continue
		}
		assert.NotContains(t, []string{
			"systemd-journald.service", "systemd-udevd.service", "dbus.service", "dbus.socket",
			"systemd-tmpfiles-setup.service", "systemd-sysusers.service", "systemd-sysctl.service",
			"systemd-fstab-generator", "systemd-sysv-generator", "tmp.mount", "dev-mqueue.mount",
			"systemd-user-sessions.service", "systemd-logind.service", "systemd-udev-trigger.service",
			"getty.target", "audit=0",
		}, i.Name)
	}
}

func TestParse(t *testing.T) {
	item, err := parse([]string{"generator", "demo-generator", "unless=/etc/demo,demo.arg", "reads", "a", "table"})
	require.NoError(t, err)
	assert.Equal(t, Item{Generator, "demo-generator", "reads a table", []string{"/etc/demo", "demo.arg"}}, item)
	for _, line := range [][]string{{"unit"}, {"unit", "a.service"}, {"unit", "a.service", "unless=/etc/a", "because"}, {"generator", "g", "unless=/etc/demo"}, {"socket", "a", "because"}} {
		_, err := parse(line)
		assert.Error(t, err, "%q", line)
	}
}

func TestFiles(t *testing.T) {
	assert.Empty(t, Files([]Item{{Kind: Generator, Name: "demo-generator"}}))
	files := Files([]Item{
		{Kind: Journald, Name: "Audit="},
		{Kind: Device, Name: "vport*"},
		{Kind: Generator, Name: "demo-generator", Unless: []string{"/etc/demo"}},
	})
	assert.Equal(t, "[Journal]\nAudit=\n", files["systemd/journald.conf.d/vmtest.conf"])
	assert.Equal(t, "KERNEL==\"vport*\", ENV{SYSTEMD_READY}=\"0\"\n", files["udev/rules.d/99-vmtest.rules"])
	assert.Contains(t, files["systemd/system-generators/vmtest-on-demand"], "exists /etc/demo; then run demo-generator")
}

func TestMasksAndKernelArgs(t *testing.T) {
	items := []Item{
		{Kind: Kernel, Name: "mitigations=off"},
		{Kind: Generator, Name: "systemd-getty-generator"},
		{Kind: Generator, Name: "systemd-run-generator", Unless: []string{"systemd.run"}},
		{Kind: Unit, Name: "getty.target"},
		{Kind: Unit, Name: "multi-user.target.wants/a.service", Unless: []string{"/etc/a"}},
	}
	assert.Equal(t, []string{"mitigations=off"}, KernelArgs(items))
	assert.Equal(t, map[string]string{
		"systemd/system-generators/systemd-getty-generator": "/dev/null",
		"systemd/system-generators/systemd-run-generator":   "/dev/null",
		"systemd/system/getty.target":                       "/dev/null",
		"systemd/system/multi-user.target.wants/a.service":  "/dev/null",
	}, Masks(items))
}
