package images

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
)

// build returns a build of an image with some name and inputs.
func buildAs(name, inputs string) buildFunc {
	return func(ctx context.Context, dir string, r *reporter) error {
		if err := sampleBuild(ctx, dir, r); err != nil {
			return err
		}
		m, err := readManifest(dir)
		if err != nil {
			return err
		}
		m.Name, m.Inputs = name, inputs
		if err := os.Remove(filepath.Join(dir, manifestFile)); err != nil {
			return err
		}
		return m.write(dir)
	}
}

// A cache may have an image that another version of this program built.
func TestOtherInputsAreBuiltAgain(t *testing.T) {
	c := testCache(t)
	_, err := c.open(t.Context(), "sample", "one", &reporter{}, buildAs("sample", "one"))
	require.NoError(t, err)
	_, err = c.open(t.Context(), "sample", "one", &reporter{}, mustNotBuild)
	require.NoError(t, err)
	var seen []string
	image, err := c.open(t.Context(), "sample", "two", notices(&seen), buildAs("sample", "two"))
	require.NoError(t, err)
	assert.Equal(t, []string{"it was built from other packages or options than this program's; rebuilding"}, seen)
	assert.Equal(t, "two", image.Inputs)
}

func TestUnusedImagesGo(t *testing.T) {
	c := testCache(t)
	now := time.Now()
	const day = 24 * time.Hour
	unused := map[string]time.Duration{
		"sample":   300 * day, // has no additions
		"sample+a": 31 * day, "sample+b": 29 * day, "sample+c": 31 * day, "sample+d": time.Minute, "sample+e": 2 * day,
	}
	for name := range unused {
		_, err := c.open(t.Context(), name, "", &reporter{}, buildAs(name, ""))
		require.NoError(t, err)
	}
	for name, age := range unused {
		require.NoError(t, os.Chtimes(c.stamp(name), now, now.Add(-age)))
	}
	busy, err := c.lock(t.Context(), "sample+c", &reporter{})
	require.NoError(t, err)
	require.NoError(t, c.dropUnused(now, keepBytes))
	require.NoError(t, busy.Remove())
	names, err := c.names()
	require.NoError(t, err)
	assert.Equal(t, []string{"sample", "sample+b", "sample+c", "sample+d", "sample+e"}, names)

	_, err = c.open(t.Context(), "sample+c", "", &reporter{}, mustNotBuild) // which uses it
	require.NoError(t, err)
	m, err := readManifest(c.image("sample+e"))
	require.NoError(t, err)
	require.NoError(t, c.dropUnused(now, 3*m.bytes()))
	names, err = c.names()
	require.NoError(t, err)
	assert.Equal(t, []string{"sample", "sample+c", "sample+d", "sample+e"}, names)

	require.NoError(t, c.dropUnused(now, 0))
	names, err = c.names()
	require.NoError(t, err)
	assert.Equal(t, []string{"sample", "sample+c", "sample+d"}, names, "those in use stay")
	assertClean(t, c)
	_, err = host.TryLockFile(filepath.Join(c.dir, "sample+c"+lockSuffix))
	require.NoError(t, err)
}

func TestListAndRemoveImagesWithAdditions(t *testing.T) {
	root := t.TempDir()
	c, err := openCache(root)
	require.NoError(t, err)
	for _, name := range []string{"debian-13+0a", "debian-13", "aaa+0b"} {
		_, err := c.open(t.Context(), name, "", &reporter{}, buildAs(name, ""))
		require.NoError(t, err)
	}
	o := Options{Cache: root}
	var names []string
	list, err := List(o)
	require.NoError(t, err)
	for _, m := range list {
		names = append(names, m.Name)
	}
	assert.Equal(t, []string{"debian-13", "aaa+0b", "debian-13+0a"}, names)
	require.NoError(t, Remove(t.Context(), "debian-13+0a", o))
	require.NoError(t, Remove(t.Context(), "debian-12", o), "a known name that is not there")
	for _, bad := range []string{"debian-13+0a", "", ".", "..", "../images", "debian-13.stamp"} {
		require.ErrorAs(t, Remove(t.Context(), bad, o), new(*UnknownImageError), bad)
	}
	assert.Equal(t, []string{"aaa+0b", "aaa+0b.stamp", "debian-13", "debian-13.stamp"}, c.files(t))
}
