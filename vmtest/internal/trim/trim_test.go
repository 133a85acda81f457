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
		assert.False(t, seen[i.Name], "%s stands there twice", i.Name)
		seen[i.Name] = true
	}
}

func TestWhatMakesSystemdGenuineStays(t *testing.T) {
	items, err := List()
	require.NoError(t, err)
	for _, i := range items {
		assert.NotContains(t, []string{
			"systemd-journald.service", "systemd-udevd.service", "dbus.service", "dbus.socket",
			"systemd-tmpfiles-setup.service", "systemd-sysusers.service", "systemd-sysctl.service",
			"systemd-fstab-generator", "systemd-sysv-generator", "tmp.mount", "dev-mqueue.mount",
		}, i.Name)
	}
}

func TestMasksAndKernelArgs(t *testing.T) {
	items := []Item{
		{Kernel, "mitigations=off", "because"},
		{Generator, "systemd-getty-generator", "because"},
		{Unit, "getty.target", "because"},
	}
	assert.Equal(t, []string{"mitigations=off"}, KernelArgs(items))
	assert.Equal(t, map[string]string{
		"systemd/system-generators/systemd-getty-generator": "/dev/null",
		"systemd/system/getty.target":                       "/dev/null",
	}, Masks(items))
}
