package images

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSystemdVersion(t *testing.T) {
	for _, tc := range []struct {
		version string
		major   int
	}{
		{"247.3-7+deb11u7", 247}, {"257.8-1~deb13u2", 257}, {"262~rc1-1", 262}, {"1:300-1", 300},
	} {
		version, major, err := systemdVersion([]Package{{"dbus", "1", "amd64"}, {"systemd", tc.version, "amd64"}})
		require.NoError(t, err)
		assert.Equal(t, tc.version, version)
		assert.Equal(t, tc.major, major)
	}
	_, _, err := systemdVersion([]Package{{"dbus", "1", "amd64"}})
	require.Error(t, err)
	_, _, err = systemdVersion([]Package{{"systemd", "devel", "amd64"}})
	require.Error(t, err)
}
