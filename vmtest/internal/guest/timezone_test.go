package guest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSetTimeZone(t *testing.T) {
	root := t.TempDir()
	etc, zones := filepath.Join(root, "etc"), filepath.Join(root, "usr/share/zoneinfo")
	require.NoError(t, os.MkdirAll(filepath.Join(zones, "Asia"), 0o755))
	require.NoError(t, os.Mkdir(etc, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(zones, "Asia/Kolkata"), []byte("TZif2"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(zones, "tzdata.zi"), []byte("# version"), 0o644))
	for range 2 { // the second replaces the link
		require.NoError(t, setTimeZone(etc, zones, "Asia/Kolkata"))
		target, err := os.Readlink(filepath.Join(etc, "localtime"))
		require.NoError(t, err)
		assert.Equal(t, "../usr/share/zoneinfo/Asia/Kolkata", target)
	}
	for name, says := range map[string]string{
		"Europe/Nowhere":      `no time zone "Europe/Nowhere" in this guest: no file`,
		"":                    `"" is not the name`,
		".":                   `"." is not the name`,
		"../../../etc/passwd": "is not the name",
		"/etc/passwd":         "is not the name",
		"Asia":                "is no tzfile(5)",
		"tzdata.zi":           "is no tzfile(5)",
	} {
		assert.ErrorContains(t, setTimeZone(etc, zones, name), says)
	}
	found, err := os.ReadDir(etc)
	require.NoError(t, err)
	assert.Len(t, found, 1, "files in etc")
}
