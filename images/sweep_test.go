package images

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKilledBuildIsSweptAway(t *testing.T) {
	c := testCache(t)
	victim := startHelper(t, "open", "VMTEST_IMAGES_CACHE="+c.dir, "VMTEST_IMAGES_SCRATCH=1")
	scratch := victim.expect(t, "scratch")
	victim.expect(t, "building")
	require.NoError(t, victim.cmd.Process.Signal(syscall.SIGKILL))
	require.Error(t, victim.cmd.Wait())
	require.DirExists(t, scratch)

	_, err := c.open(t.Context(), "sample", "", &reporter{}, sampleBuild)
	require.NoError(t, err)
	assert.NoDirExists(t, scratch)
	assertClean(t, c)
}

// Open of any image removes what killed builds left, but not a build that goes on.
func TestOpenSweepsKilledBuilds(t *testing.T) {
	c, _ := builtSample(t)
	dir := func(name string) string {
		path := filepath.Join(c.dir, ".build-"+name+"-1")
		require.NoError(t, os.Mkdir(path, 0o700))
		return path
	}
	const longer = "sample-other" // its work directories begin like those of sample
	lock, err := c.lock(t.Context(), longer, &reporter{})
	require.NoError(t, err)
	own, other := dir("sample"), dir(longer)
	_, err = c.open(t.Context(), "sample", "", &reporter{}, mustNotBuild)
	require.NoError(t, err)
	assert.NoDirExists(t, own)
	assert.DirExists(t, other)

	require.NoError(t, lock.Close())
	_, err = c.open(t.Context(), "sample", "", &reporter{}, mustNotBuild)
	require.NoError(t, err)
	assertClean(t, c)
}

// Open of any image removes the stamps of images that are gone and what killed
// processes left, but nothing of an image that a process works on.
func TestOpenSweepsStampsAndLocks(t *testing.T) {
	c, image := builtSample(t)
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.CopyFS(outside, os.DirFS(image.Dir())))
	_, err := c.openPath(t.Context(), outside, &reporter{})
	require.NoError(t, err)
	stamp := externalName(outside) + stampSuffix
	assert.Equal(t, []string{stamp, "sample", "sample.stamp"}, c.files(t))

	for _, name := range []string{"gone.stamp", "killed.lock", "killed.stamp.new", "busy.stamp", "busy.stamp.new", "path-1.stamp"} {
		require.NoError(t, os.WriteFile(filepath.Join(c.dir, name), nil, 0o600))
	}
	lock, err := c.lock(t.Context(), "busy", &reporter{})
	require.NoError(t, err)
	_, err = c.open(t.Context(), "sample", "", &reporter{}, mustNotBuild)
	require.NoError(t, err)
	assert.Equal(t, []string{"busy.lock", "busy.stamp", "busy.stamp.new", stamp, "sample", "sample.stamp"}, c.files(t))

	require.NoError(t, lock.Close())
	require.NoError(t, os.RemoveAll(outside))
	require.NoError(t, os.RemoveAll(image.Dir()))
	require.NoError(t, c.remove(t.Context(), "other", &reporter{}))
	assert.Empty(t, c.files(t))
}

// A work directory that cannot be removed fails neither this build nor a later one,
// and the other directories are removed.
func TestUnremovableWorkIsANotice(t *testing.T) {
	c, _ := builtSample(t)
	const said = "cannot clean up after a build: remove scratch directory: "
	var seen []string
	var work string
	_, err := c.replace(t.Context(), "build", "sample", notices(&seen), func(ctx context.Context, dir string, r *reporter) error {
		work = filepath.Dir(dir)
		return errors.Join(spoilNote(work), sampleBuild(ctx, dir, r))
	})
	require.NoError(t, err, "the image was finished")
	require.Len(t, seen, 1)
	assert.Contains(t, seen[0], said)

	zombies := []string{filepath.Join(c.dir, ".build-sample-0"), filepath.Join(c.dir, ".build-sample-z")}
	require.NoError(t, os.Mkdir(zombies[0], 0o700))
	require.NoError(t, os.Mkdir(zombies[1], 0o700))
	seen = nil
	image, err := c.replace(t.Context(), "build", "sample", notices(&seen), sampleBuild)
	require.NoError(t, err)
	assert.FileExists(t, image.Kernel())
	require.Len(t, seen, 1, "noticed once in a build")
	assert.Contains(t, seen[0], said)
	assert.DirExists(t, work, "with the note, for another try")
	for _, dir := range zombies {
		assert.NoDirExists(t, dir)
	}

	boom := errors.New("boom")
	_, err = c.replace(t.Context(), "build", "sample", &reporter{}, func(_ context.Context, dir string, _ *reporter) error {
		return errors.Join(spoilNote(filepath.Dir(dir)), boom)
	})
	assert.EqualError(t, err, "build image sample: boom")
}

// spoilNote makes a work directory that not even root can remove: the file that
// should name its scratch directory cannot be read.
func spoilNote(work string) error { return os.Mkdir(filepath.Join(work, scratchFile), 0o700) }

// assertClean checks that no work directory is left.
func assertClean(t *testing.T, c cache) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(c.dir, ".*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
