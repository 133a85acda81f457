package scenarios

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest"
)

// otherGuest asks TestCacheUser for a guest that has a snapshot of its own.
const otherGuest = "VMTEST_OTHER_GUEST"

// TestCacheUser is what the tests below run in processes of their own, too: a test
// like any other, whose guest must be a healthy one of the right version.
func TestCacheUser(t *testing.T) {
	var config vmtest.Config
	other := os.Getenv(otherGuest) == "1"
	if other {
		config.KernelArgs = []string{"vmtest.other"}
	}
	g := vmtest.Start(t, config)
	assert.Equal(t, "running\n", g.Run(t, "systemctl", "is-system-running"))
	assert.Contains(t, g.Run(t, "systemctl", "--version"), "("+g.Machine.Image().SystemdVersion+")")
	assert.Equal(t, other, strings.Contains(g.Run(t, "cat", "/proc/cmdline"), "vmtest.other"))
}

// newCacheUser prepares a process that runs TestCacheUser with the cache in a folder.
func newCacheUser(t *testing.T, cache string, env ...string) (cmd *exec.Cmd, output *bytes.Buffer) {
	cmd = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCacheUser$", "-test.timeout=5m")
	cmd.Env = append(append(os.Environ(), "VMTEST_CACHE="+cache), env...)
	output = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, output
}

// useCache runs TestCacheUser, which must pass, and returns what was said.
func useCache(t *testing.T, cache string, env ...string) string {
	cmd, output := newCacheUser(t, cache, env...)
	require.NoError(t, cmd.Run(), "output:\n%s", output)
	return output.String()
}

// useCacheTwice does so with two processes at once.
func useCacheTwice(t *testing.T, cache string, env ...string) string {
	first, out1 := newCacheUser(t, cache, env...)
	second, out2 := newCacheUser(t, cache, env...)
	require.NoError(t, first.Start())
	require.NoError(t, second.Start())
	err1, err2 := first.Wait(), second.Wait()
	require.NoError(t, errors.Join(err1, err2), "output of the first:\n%s\nand of the second:\n%s", out1, out2)
	return out1.String() + out2.String()
}

// What is said on stderr of work that should be done once.
const (
	saidBuild = "not in the cache; building it"
	saidBoot  = "booting once; tests fork from the snapshot"
)

// programs are those that the go command has built.
var programs = "go/" + strings.Repeat("[0-9a-f]", 24)

// Two processes with an empty cache make one snapshot and both pass. From then on a
// file of the cache that was spoiled is noticed, or does no harm.
func TestCache(t *testing.T) {
	cache := t.TempDir()
	image := "VMTEST_IMAGE=" + imageDir(t)

	said := useCacheTwice(t, cache, image)
	assert.Equal(t, 1, strings.Count(said, saidBoot), "boots\n%s", said)
	assertTidy(t, cache)

	type file struct{ name, pattern string }
	harmless := []file{
		{"stamp of the image", "images/*.stamp"},
		{"queue", "queue"},
	}
	if os.Getenv("VMTEST_AGENT") == "" { // or the agent is not built here
		harmless = append(harmless, []file{
			{"program", programs},
			{"digest of the program", "go/*.sha256"},
			{"lock of the program", "go/*.lock"},
		}...)
	}
	if kept, err := filepath.Glob(filepath.Join(cache, "accel/*")); err == nil && len(kept) > 0 {
		// There is none where KVM needs no trial to be ruled out.
		harmless = append(harmless, file{"verdict on KVM", "accel/*"})
	}
	for _, f := range harmless {
		flip(t, cacheFile(t, cache, f.pattern))
	}
	said = useCache(t, cache, image)
	assert.NotContains(t, said, saidBoot, "with a byte flipped in each of %v", harmless)
	for _, f := range harmless {
		require.NoError(t, os.Truncate(cacheFile(t, cache, f.pattern), 0))
	}
	said = useCache(t, cache, image)
	assert.NotContains(t, said, saidBoot, "with each emptied of %v", harmless)
	assertTidy(t, cache)

	if soak() {
		spoilSnapshots(t, cache, image)
	}
}

// spoilSnapshots spoils the one snapshot of a cache in each way, and in the end swaps
// the memory of two.
func spoilSnapshots(t *testing.T, cache, image string) {
	for _, tc := range []struct {
		name  string
		spoil func(ram, state, info string)
		want  string
	}{
		{"byte of memory flipped", func(ram, _, _ string) { flip(t, ram) }, "its memory was altered"},
		{"byte of device state flipped", func(_, state, _ string) { flip(t, state) }, "its device state was altered"},
		{"description truncated", func(_, _, info string) { require.NoError(t, os.Truncate(info, 100)) }, "its description is torn"},
		{"memory truncated", func(ram, _, _ string) { require.NoError(t, os.Truncate(ram, 100<<20)) }, "its memory was altered"},
	} {
		tc.spoil(cacheFile(t, cache, "snapshots/*/ram"), cacheFile(t, cache, "snapshots/*/state"),
			cacheFile(t, cache, "snapshots/*/snapshot.json"))
		said := useCacheTwice(t, cache, image)
		assert.Contains(t, said, "is unusable ("+tc.want, tc.name)
		assert.Equal(t, 1, strings.Count(said, saidBoot), "boots after: %s\n%s", tc.name, said)
		assertTidy(t, cache)
	}

	plain := cacheFile(t, cache, "snapshots/*/ram")
	said := useCache(t, cache, image, otherGuest+"=1")
	assert.Contains(t, said, saidBoot, "a guest of another kind")
	all, err := filepath.Glob(filepath.Join(cache, "snapshots/*/ram"))
	require.NoError(t, err)
	require.Len(t, all, 2)
	other := all[0]
	if other == plain {
		other = all[1]
	}
	require.NoError(t, os.Rename(plain, plain+"~"))
	require.NoError(t, os.Rename(other, plain))
	require.NoError(t, os.Rename(plain+"~", other))
	for _, other := range []string{"0", "1"} {
		said := useCache(t, cache, image, otherGuest+"="+other)
		assert.Contains(t, said, "is unusable (its memory was altered", "memory swapped, other guest %s", other)
	}
	assertTidy(t, cache)
}

// Two processes with nothing at all in the cache build one image, boot it once, and
// both pass. A byte of it flipped, it is built anew, and the snapshot still fits.
func TestEmptyCache(t *testing.T) {
	forSoak(t)
	if image := os.Getenv("VMTEST_IMAGE"); strings.Contains(image, "/") {
		t.Skipf("%s is not an image that could be built here", image)
	}
	cache := t.TempDir()
	said := useCacheTwice(t, cache)
	assert.Equal(t, 1, strings.Count(said, saidBuild), "image builds\n%s", said)
	assert.Equal(t, 1, strings.Count(said, saidBoot), "boots\n%s", said)
	assertTidy(t, cache)

	flip(t, cacheFile(t, cache, "images/*/rootfs.squashfs"))
	said = useCacheTwice(t, cache)
	assert.Equal(t, 1, strings.Count(said, "rootfs.squashfs does not match its manifest; rebuilding"), said)
	assert.NotContains(t, said, saidBoot)
	assertTidy(t, cache)
}

// soak tells whether tests may take minutes, as in "make soak".
func soak() bool { return os.Getenv("VMTEST_SOAK") == "1" }

func forSoak(t *testing.T) {
	t.Helper()
	if !soak() {
		t.Skip("takes minutes: VMTEST_SOAK=1, or make soak")
	}
}

// imageDir is the folder of the image that this run tests.
func imageDir(t *testing.T) string {
	name := os.Getenv("VMTEST_IMAGE")
	if name == "" {
		name = images.Default
	}
	image, err := images.Open(t.Context(), name, images.Options{})
	require.NoError(t, err)
	return image.Dir()
}

// cacheFile finds the one file that a pattern below the cache names.
func cacheFile(t *testing.T, cache, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cache, pattern))
	require.NoError(t, err)
	require.Len(t, found, 1, pattern)
	return found[0]
}

// flip changes the byte in the middle of a file, or adds one to an empty file, and
// puts back the time of the last change, as far as a program can.
func flip(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1)
	if info.Size() > 0 {
		_, err = f.ReadAt(b, info.Size()/2)
		require.NoError(t, err)
	}
	_, err = f.WriteAt([]byte{^b[0]}, info.Size()/2)
	require.NoError(t, err)
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// assertTidy asserts that a cache holds whole things alone, with their locks, and
// what a test has put there.
func assertTidy(t *testing.T, cache string, but ...string) {
	t.Helper()
	whole := append(but,
		"queue", "accel/*.json", programs, "go/*.lock", "go/*.sha256",
		"images/[a-z]*", "snapshots/*/ram", "snapshots/*/state", "snapshots/*/moment", "snapshots/*/snapshot.json",
	)
	err := filepath.WalkDir(cache, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == cache {
			return err
		}
		assert.False(t, strings.HasPrefix(entry.Name(), "."), "left in the cache: %s", path)
		rel, err := filepath.Rel(cache, path)
		if err != nil || entry.IsDir() {
			return err
		}
		if strings.HasPrefix(rel, "images/") && strings.Count(rel, "/") > 1 {
			return nil // of an image, which is compared with its manifest
		}
		for _, pattern := range whole {
			if ok, err := filepath.Match(pattern, rel); ok || err != nil {
				return err
			}
		}
		assert.Fail(t, "left in the cache: "+path)
		return nil
	})
	require.NoError(t, err)
}
