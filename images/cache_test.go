package images

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mustNotBuild is the build for an image that is in the cache.
func mustNotBuild(context.Context, string, *reporter) error {
	return errors.New("built although the cache has it")
}

func builtSample(t *testing.T) (cache, *Image) {
	t.Helper()
	c := testCache(t)
	var seen []string
	image, err := c.open(t.Context(), "sample", "", notices(&seen), sampleBuild)
	require.NoError(t, err)
	assert.Equal(t, []string{"not in the cache; building it"}, seen)
	return c, image
}

func TestOpenBuildsOnceAndKeeps(t *testing.T) {
	c, first := builtSample(t)
	second, err := c.open(t.Context(), "sample", "", &reporter{}, mustNotBuild)
	require.NoError(t, err)
	assert.Equal(t, first, second)
	for _, path := range []string{first.Kernel(), first.Root(), first.ModulesDir()} {
		assert.True(t, filepath.IsAbs(path))
		_, err := os.Stat(path)
		assert.NoError(t, err)
	}
	info, err := os.Stat(first.Dir())
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestOpenNoticesDamage(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(*Image) error
		want   string
	}{
		{"altered, same size", func(i *Image) error {
			return os.WriteFile(i.Root(), []byte("Content of "+rootFile), 0o600)
		}, "rootfs.squashfs does not match its manifest; rebuilding"},
		{"altered, times put back", func(i *Image) error { return flipKeepingTimes(i.Root()) },
			"rootfs.squashfs does not match its manifest; rebuilding"},
		{"kernel altered, times put back", func(i *Image) error { return flipKeepingTimes(i.Kernel()) },
			"vmlinuz does not match its manifest; rebuilding"},
		{"module altered, times put back", func(i *Image) error {
			return flipKeepingTimes(filepath.Join(i.ModulesDir(), "lib", "overlay.ko"))
		}, "modules/lib/overlay.ko does not match its manifest; rebuilding"},
		{"kernel and root swapped", func(i *Image) error {
			return errors.Join(os.Rename(i.Root(), i.Root()+"~"), os.Rename(i.Kernel(), i.Root()),
				os.Rename(i.Root()+"~", i.Kernel()))
		}, "rootfs.squashfs has 18 bytes instead of 26; rebuilding"},
		{"truncated", func(i *Image) error { return os.Truncate(i.Kernel(), 3) },
			"vmlinuz has 3 bytes instead of 18; rebuilding"},
		{"file gone", func(i *Image) error { return os.Remove(i.Kernel()) }, "vmlinuz is missing; rebuilding"},
		{"file added", func(i *Image) error {
			return os.WriteFile(filepath.Join(i.ModulesDir(), "evil.ko"), nil, 0o600)
		}, "modules/evil.ko is not in its manifest; rebuilding"},
		{"a link to a whole copy", func(i *Image) error {
			return errors.Join(os.Rename(i.Root(), i.Root()+"~"), os.Symlink(i.Root()+"~", i.Root()))
		}, "rootfs.squashfs~ is not in its manifest; rebuilding"},
		{"a FIFO", func(i *Image) error {
			return errors.Join(os.Remove(i.Root()), syscall.Mkfifo(i.Root(), 0o600))
		}, "rootfs.squashfs is not a regular file; rebuilding"},
		{"manifest is a FIFO", func(i *Image) error {
			path := filepath.Join(i.Dir(), manifestFile)
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		}, "the manifest is not a regular file; rebuilding"},
		{"manifest gone", func(i *Image) error { return os.Remove(filepath.Join(i.Dir(), manifestFile)) },
			"the manifest is missing; rebuilding"},
		{"manifest truncated", func(i *Image) error { return os.Truncate(filepath.Join(i.Dir(), manifestFile), 100) },
			"the manifest is not valid JSON; rebuilding"},
		{"manifest emptied", func(i *Image) error { return os.Truncate(filepath.Join(i.Dir(), manifestFile), 0) },
			"the manifest is not valid JSON; rebuilding"},
		{"directory is a file", func(i *Image) error {
			return errors.Join(os.RemoveAll(i.Dir()), os.WriteFile(i.Dir(), nil, 0o600))
		}, "it is not a directory; rebuilding"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, image := builtSample(t)
			require.NoError(t, tc.damage(image))
			var seen []string
			again, err := c.open(t.Context(), "sample", "", notices(&seen), sampleBuild)
			require.NoError(t, err)
			assert.Equal(t, []string{tc.want}, seen)
			assert.Equal(t, image.Digest, again.Digest)
		})
	}
}

// flipKeepingTimes changes the byte in the middle of a file, and sets back the times
// that a program can set.
func flipKeepingTimes(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	return errors.Join(os.WriteFile(path, data, 0o600), os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// A changed byte of the manifest either is an error or leaves its content the same.
func TestEveryByteOfTheManifestCounts(t *testing.T) {
	_, image := builtSample(t)
	path := filepath.Join(image.Dir(), manifestFile)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := range whole {
		for _, bit := range []byte{0x01, 0x20} { // another digit or letter, another case
			data := []byte(string(whole))
			data[i] ^= bit
			require.NoError(t, os.WriteFile(path, data, 0o600))
			if m, err := readManifest(image.Dir()); err == nil {
				assert.Equal(t, image.Manifest, m)
			} else {
				assert.ErrorAs(t, err, new(damage))
			}
		}
	}
}

// An empty or invalid stamp only means that all files are hashed again. A lock's
// content means nothing.
func TestSpoiledStampAndLockAreHarmless(t *testing.T) {
	c, image := builtSample(t)
	spoil := map[string]func(string) error{
		"flipped":   flipKeepingTimes,
		"truncated": func(path string) error { return os.Truncate(path, 9) },
		"emptied":   func(path string) error { return os.Truncate(path, 0) },
		"gone":      os.Remove,
		"swapped":   func(path string) error { return os.WriteFile(path, []byte(`{"seal":"other","files":{}}`), 0o600) },
	}
	for name, do := range spoil {
		for _, path := range []string{c.stamp("sample"), filepath.Join(c.dir, "sample.lock")} {
			if strings.HasSuffix(path, ".lock") {
				require.NoError(t, os.WriteFile(path, []byte("something"), 0o600))
			}
			require.NoError(t, do(path), name)
			var seen []string
			again, err := c.open(t.Context(), "sample", "", notices(&seen), mustNotBuild)
			require.NoError(t, err, "%s %s", path, name)
			assert.Empty(t, seen)
			assert.Equal(t, image, again)
		}
	}
}

func TestStampSparesHashing(t *testing.T) {
	c, image := builtSample(t)
	s := readStamp(c.stamp("sample"))
	require.Len(t, s.Files, 3)
	require.NoError(t, os.WriteFile(image.Root(), []byte("Content of "+rootFile), 0o600))

	// No file is hashed whose identity is in the stamp.
	f, now, err := openRegular(image.Root())
	require.NoError(t, err)
	require.NoError(t, f.Close())
	s.Files[rootFile] = now
	require.NoError(t, s.write(c.stamp("sample")))
	_, err = verify(t.Context(), image.Dir(), c.stamp("sample"), "sample")
	require.NoError(t, err)

	// Without the stamp, the file is hashed.
	require.NoError(t, os.Remove(c.stamp("sample")))
	_, err = verify(t.Context(), image.Dir(), c.stamp("sample"), "sample")
	assert.ErrorContains(t, err, "does not match its manifest")
}

func TestCopiedImageIsHashedAndTaken(t *testing.T) {
	c, image := builtSample(t)
	other := testCache(t)
	require.NoError(t, os.MkdirAll(other.dir, 0o700))
	require.NoError(t, os.CopyFS(other.image("sample"), os.DirFS(c.image("sample"))))
	got, err := other.open(t.Context(), "sample", "", &reporter{}, mustNotBuild)
	require.NoError(t, err)
	assert.Equal(t, image.Manifest, got.Manifest)
	assert.FileExists(t, other.stamp("sample"))
}

func TestFailedBuildChangesNothing(t *testing.T) {
	c, image := builtSample(t)
	boom := errors.New("boom")
	_, err := c.replace(t.Context(), "build", "sample", &reporter{}, func(_ context.Context, dir string, _ *reporter) error {
		require.NoError(t, os.WriteFile(filepath.Join(dir, rootFile), []byte("half"), 0o600))
		return boom
	})
	require.ErrorIs(t, err, boom)
	assert.EqualError(t, err, "build image sample: boom")
	again, err := c.open(t.Context(), "sample", "", &reporter{}, mustNotBuild)
	require.NoError(t, err)
	assert.Equal(t, image, again)
	assertClean(t, c)
}

// An image is stored whole, or not at all.
func TestBuildInterruptedAtItsEnd(t *testing.T) {
	c, first := builtSample(t)
	ctx, cancel := context.WithCancel(t.Context())
	image, err := c.replace(ctx, "build", "sample", &reporter{}, func(ctx context.Context, dir string, r *reporter) error {
		defer cancel()
		return sampleBuild(ctx, dir, r)
	})
	require.NoError(t, err)
	require.ErrorIs(t, first.Check(), ErrReplaced)
	require.NoError(t, image.Check())
	assertClean(t, c)
}

func TestRemove(t *testing.T) {
	c, _ := builtSample(t)
	assert.Equal(t, []string{"sample", "sample.stamp"}, c.files(t))
	require.NoError(t, c.remove(t.Context(), "sample", &reporter{}))
	assert.Empty(t, c.files(t))
	require.NoError(t, c.remove(t.Context(), "sample", &reporter{}), "twice")
	assert.Empty(t, c.files(t))
}

// files returns the names in the cache's directory.
func (c cache) files(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(c.dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// QEMU parses files of the cache.
func TestCacheThatOthersCanWriteIsRefused(t *testing.T) {
	root := t.TempDir()
	c, err := openCache(root)
	require.NoError(t, err)
	_, err = c.open(t.Context(), "sample", "", &reporter{}, sampleBuild)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(c.dir, 0o777))
	t.Setenv("PATH", "") // nothing is built
	o := Options{Cache: root}
	_, errOpen := Open(t.Context(), named(Default), o)
	_, errPath := Open(t.Context(), named(c.image("sample")), o)
	_, errBuild := Build(t.Context(), named(Default), o)
	_, errList := List(o)
	for _, err := range []error{errOpen, errPath, errBuild, errList, Remove(t.Context(), Default, o)} {
		var lacks *HostError
		require.ErrorAs(t, err, &lacks)
		assert.Equal(t, "other users can write in the cache directory "+c.dir+" (mode 0777)", lacks.Cause)
		assert.Contains(t, lacks.Cure, "VMTEST_CACHE")
	}
}

func TestListMakesNoDirectory(t *testing.T) {
	root := filepath.Join(t.TempDir(), "cache")
	list, err := List(Options{Cache: root})
	require.NoError(t, err)
	assert.Empty(t, list)
	assert.NoDirExists(t, root)
}
