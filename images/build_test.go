package images

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// needBuilds skips a test that takes minutes and a network.
func needBuilds(t *testing.T) {
	t.Helper()
	if os.Getenv("VMTEST_BUILD_IMAGES") != "1" {
		t.Skip("builds images from packages, for minutes and with a network: set VMTEST_BUILD_IMAGES=1 to run it")
	}
	require.Empty(t, Missing())
}

func TestBuildIsReproducible(t *testing.T) {
	needBuilds(t)
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			o := Options{Cache: t.TempDir()}
			first, err := Build(t.Context(), name, o)
			require.NoError(t, err)
			second, err := Build(t.Context(), name, o)
			require.NoError(t, err)
			assert.Equal(t, first.Digest, second.Digest)
			list, err := List(o)
			require.NoError(t, err)
			assert.Equal(t, []Manifest{second.Manifest}, list)
			require.NoError(t, Remove(t.Context(), name, o))
		})
	}
}

func TestBuildWithoutNetwork(t *testing.T) {
	needBuilds(t)
	cacheDir := t.TempDir()
	// Port 1 of the loopback refuses connections.
	_, err := Open(t.Context(), Default, Options{Cache: cacheDir, Mirror: "http://127.0.0.1:1/debian"})
	var host *HostError
	require.ErrorAs(t, err, &host)
	assert.Contains(t, host.Cause, "the package mirror cannot be reached: ")
	assert.Contains(t, host.Cause, "127.0.0.1")
	assertNothingLeft(t, cacheDir)
}

func TestBuildCancelled(t *testing.T) {
	needBuilds(t)
	cacheDir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Open(ctx, Default, Options{Cache: cacheDir, Progress: func(p Progress) {
		if p.Stage == Installing && p.Done > 0 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	assertNothingLeft(t, cacheDir)
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	assert.Empty(t, left)
}

func assertNothingLeft(t *testing.T, cacheDir string) {
	t.Helper()
	c := cache{dir: filepath.Join(cacheDir, "images")}
	assertClean(t, c)
	assert.NoDirExists(t, c.image(Default))
	assert.NoFileExists(t, c.stamp(Default))
}
