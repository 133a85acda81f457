package vmtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
)

func TestZeroConfig(t *testing.T) {
	t.Setenv("VMTEST_IMAGE", "")
	t.Setenv("VMTEST_TIMEOUT_SCALE", "")
	t.Setenv("VMTEST_UNTRIMMED", "")
	c, err := Config{}.complete()
	require.NoError(t, err)
	assert.Equal(t, "debian-13", c.Image)
	assert.Equal(t, 512, c.Memory)
	assert.Equal(t, 3*time.Minute, c.BootTimeout)
	assert.False(t, c.Untrimmed)
}

func TestConfigFromEnvironment(t *testing.T) {
	t.Setenv("VMTEST_IMAGE", "debian-12")
	t.Setenv("VMTEST_UNTRIMMED", "1")
	c, err := Config{}.complete()
	require.NoError(t, err)
	assert.Equal(t, "debian-12", c.Image)
	assert.True(t, c.Untrimmed)
	c, err = Config{Image: "debian-11"}.complete()
	require.NoError(t, err)
	assert.Equal(t, "debian-11", c.Image, "Config.Image overrides VMTEST_IMAGE")
}

func TestImageFromEnvironment(t *testing.T) {
	t.Setenv("VMTEST_IMAGE", "debian-31")
	_, err := Config{}.complete()
	var unknown *images.UnknownImageError
	require.ErrorAs(t, err, &unknown)
	assert.ErrorContains(t, err, `read VMTEST_IMAGE: unknown image "debian-31": want one of debian-11,`)
	t.Setenv("VMTEST_IMAGE", "./image")
	c, err := Config{}.complete()
	require.NoError(t, err, "image path")
	assert.Equal(t, "./image", c.Image)
}

func TestBadConfig(t *testing.T) {
	_, err := Config{Memory: 16}.complete()
	assert.ErrorContains(t, err, "16 MiB of memory")
	_, err = Config{CPUs: -1}.complete()
	assert.ErrorContains(t, err, "-1 CPUs")
	for _, name := range []string{"-a", "a b", "a;reboot", "a_b", "ä"} {
		_, err = Config{Hostname: name}.complete()
		assert.ErrorContains(t, err, "is not a host name", name)
	}
	for _, v := range []string{"x", "0", "-1", "NaN", "1e9"} {
		t.Setenv("VMTEST_TIMEOUT_SCALE", v)
		_, err = Config{}.complete()
		assert.ErrorContains(t, err, "VMTEST_TIMEOUT_SCALE", "with VMTEST_TIMEOUT_SCALE=%s", v)
	}
}

// A build's options for an image that is not built are not ignored.
func TestConfigOfAFinishedImage(t *testing.T) {
	for want, c := range map[string]Config{
		"set NoAutostart for ":        {NoAutostart: true},
		"add sources of packages to ": {Sources: []images.Source{{URI: "http://packages.example.org", Suite: "./", Keyring: "key.gpg"}}},
	} {
		c.Image = t.TempDir()
		_, err := Launch(t.Context(), c)
		require.ErrorAs(t, err, new(*images.SpecError))
		assert.ErrorContains(t, err, want+c.Image+": only images that are built take that: leave it out, or use debian-11, ")
	}
}
