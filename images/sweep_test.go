package images

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKilledBuildIsSweptAway(t *testing.T) {
	c := cache{dir: filepath.Join(t.TempDir(), "images")}
	victim := startHelper(t, "open", "VMTEST_IMAGES_CACHE="+c.dir, "VMTEST_IMAGES_SCRATCH=1")
	scratch := victim.expect(t, "scratch")
	victim.expect(t, "building")
	require.NoError(t, victim.cmd.Process.Signal(syscall.SIGKILL))
	require.Error(t, victim.cmd.Wait())
	require.DirExists(t, scratch)

	_, err := c.open(t.Context(), "sample", &reporter{}, sampleBuild)
	require.NoError(t, err)
	assert.NoDirExists(t, scratch)
	assertClean(t, c)
}

// What a killed build has left goes when any image is opened, one in the making stays.
func TestOpenSweepsKilledBuilds(t *testing.T) {
	c, _ := builtSample(t)
	dir := func(name string) string {
		path := filepath.Join(c.dir, ".build-"+name+"-1")
		require.NoError(t, os.Mkdir(path, 0o700))
		return path
	}
	lock, err := c.lock(t.Context(), "other", &reporter{})
	require.NoError(t, err)
	own, other := dir("sample"), dir("other")
	_, err = c.open(t.Context(), "sample", &reporter{}, mustNotBuild)
	require.NoError(t, err)
	assert.NoDirExists(t, own)
	assert.DirExists(t, other)

	require.NoError(t, lock.Close())
	_, err = c.open(t.Context(), "sample", &reporter{}, mustNotBuild)
	require.NoError(t, err)
	assertClean(t, c)
}

// assertClean checks that no work folder is left.
func assertClean(t *testing.T, c cache) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(c.dir, ".*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
