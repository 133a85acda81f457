package images

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOpenPath(t *testing.T) {
	_, image := builtSample(t)
	require.NoError(t, os.Chmod(image.Dir(), 0o500))   // as in a Nix store
	t.Cleanup(func() { os.Chmod(image.Dir(), 0o700) }) // or it cannot be removed
	cacheDir := t.TempDir()
	got, err := Open(t.Context(), named(image.Dir()), Options{Cache: cacheDir, Progress: func(p Progress) {
		assert.False(t, p.Notice, "notice %q for a whole image", p.Text)
	}})
	require.NoError(t, err)
	assert.Equal(t, image, got)
	assert.Equal(t, filepath.Join(image.Dir(), kernelFile), got.Kernel())
	stamps, err := filepath.Glob(filepath.Join(cacheDir, "images", "path-*.stamp"))
	require.NoError(t, err)
	assert.Len(t, stamps, 1)

	_, err = Build(t.Context(), named(image.Dir()), Options{Cache: t.TempDir()})
	var unknown *UnknownImageError
	require.ErrorAs(t, err, &unknown, "Build of a directory")
}

func TestOpenPathRelative(t *testing.T) {
	c, image := builtSample(t)
	t.Chdir(filepath.Dir(image.Dir()))
	got, err := c.openPath(t.Context(), "./sample", &reporter{})
	require.NoError(t, err)
	assert.Equal(t, image.Dir(), got.Dir())
}

// nix build makes a symbolic link to the image's directory.
func TestOpenPathOfALink(t *testing.T) {
	c, image := builtSample(t)
	link := filepath.Join(t.TempDir(), "result")
	require.NoError(t, os.Symlink(image.Dir(), link))
	got, err := c.openPath(t.Context(), link, &reporter{})
	require.NoError(t, err)
	assert.Equal(t, image, got)

	dangling := filepath.Join(t.TempDir(), "result")
	require.NoError(t, os.Symlink(image.Dir()+"-gone", dangling))
	_, err = c.openPath(t.Context(), dangling, &reporter{})
	assert.ErrorContains(t, err, "there is no such directory")
}

func TestOpenPathOfABadImage(t *testing.T) {
	otherArch := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, i *Image)
		want  string
	}{
		{"missing", func(t *testing.T, i *Image) { require.NoError(t, os.RemoveAll(i.Dir())) },
			"there is no such directory"},
		{"foreign", func(t *testing.T, i *Image) { require.NoError(t, os.Remove(filepath.Join(i.Dir(), manifestFile))) },
			"the manifest is missing"},
		{"a file", func(t *testing.T, i *Image) {
			require.NoError(t, os.RemoveAll(i.Dir()))
			require.NoError(t, os.WriteFile(i.Dir(), nil, 0o600))
		}, "it is not a directory"},
		{"other architecture", func(t *testing.T, i *Image) {
			i.Arch = otherArch
			require.NoError(t, os.Remove(filepath.Join(i.Dir(), manifestFile)))
			require.NoError(t, i.write(i.Dir()))
		}, "it was built for " + otherArch},
		{"altered", func(t *testing.T, i *Image) { require.NoError(t, os.Truncate(i.Root(), 3)) },
			"rootfs.squashfs has 3 bytes instead of 26"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, image := builtSample(t)
			tc.spoil(t, image)
			other := testCache(t)
			_, err := other.openPath(t.Context(), image.Dir(), &reporter{})
			var host *HostError
			require.ErrorAs(t, err, &host)
			assert.Equal(t, "cannot use the image "+image.Dir()+": "+tc.want, host.Cause)
			assert.Contains(t, host.Cure, "debian-13")
			built, err := filepath.Glob(filepath.Join(other.dir, "*", manifestFile))
			require.NoError(t, err)
			assert.Empty(t, built, "an image was built in its place")
		})
	}
}
