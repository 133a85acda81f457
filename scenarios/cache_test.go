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

// otherGuest makes TestCacheUser start a guest that needs another snapshot.
const otherGuest = "VMTEST_OTHER_GUEST"

// TestCacheUser starts a guest, which must be healthy and have the right version. The
// tests below run it in other processes.
func TestCacheUser(t *testing.T) {
	var config vmtest.Config
	other := os.Getenv(otherGuest) == "1"
	if other {
		config.KernelArgs = []string{"vmtest.other"}
	}
	g := vmtest.Start(t, config)
	assertRunning(t, g)
	assert.Contains(t, g.Run(t, "systemctl", "--version"), "("+g.Machine.Image().SystemdVersion+")")
	assert.Equal(t, other, strings.Contains(g.Run(t, "cat", "/proc/cmdline"), "vmtest.other"))
}

// newCacheUser returns a command that runs TestCacheUser with the given cache directory.
func newCacheUser(t *testing.T, cache string, env ...string) (cmd *exec.Cmd, output *bytes.Buffer) {
	cmd = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCacheUser$", "-test.timeout=5m")
	cmd.Env = append(append(os.Environ(), "VMTEST_CACHE="+cache), env...)
	output = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, output
}

// useCache runs TestCacheUser, which must pass, and returns its output.
func useCache(t *testing.T, cache string, env ...string) string {
	cmd, output := newCacheUser(t, cache, env...)
	require.NoError(t, cmd.Run(), "output:\n%s", output)
	return output.String()
}

// useCacheTwice runs two processes with TestCacheUser at once, and returns their output.
func useCacheTwice(t *testing.T, cache string, env ...string) string {
	first, out1 := newCacheUser(t, cache, env...)
	second, out2 := newCacheUser(t, cache, env...)
	require.NoError(t, first.Start())
	require.NoError(t, second.Start())
	err1, err2 := first.Wait(), second.Wait()
	require.NoError(t, errors.Join(err1, err2), "output of the first:\n%s\nand of the second:\n%s", out1, out2)
	return out1.String() + out2.String()
}

// Notices on stderr of work that should be done once.
const (
	buildNotice = "not in the cache; building it"
	bootNotice  = "booting once; tests fork from the snapshot"
)

// programs is a pattern of the executables in the cache.
var programs = "go/" + strings.Repeat("[0-9a-f]", 24)

// Two processes that share an empty cache make one snapshot, and both pass. Afterwards a
// damaged file in the cache is found, or does no harm.
func TestCache(t *testing.T) {
	hostSide(t)
	needMachine(t)
	cache := t.TempDir()
	image := "VMTEST_IMAGE=" + imageDir(t)

	output := useCacheTwice(t, cache, image)
	assert.Equal(t, 1, strings.Count(output, bootNotice), "boots\n%s", output)
	assertTidy(t, cache)

	type file struct{ name, pattern string }
	harmless := []file{
		{"stamp of the image", "images/*.stamp"},
		{"queue", "queue"},
	}
	if os.Getenv("VMTEST_AGENT") == "" { // else no agent is built
		harmless = append(harmless, []file{
			{"program", programs},
			{"digest of the program", "go/*.sha256"},
			{"lock of the program", "go/*.lock"},
		}...)
	}
	if kept, err := filepath.Glob(filepath.Join(cache, "accel/*")); err == nil && len(kept) > 0 {
		// The cache has no verdict if the host has no KVM to try.
		harmless = append(harmless, file{"verdict on KVM", "accel/*"})
	}
	for _, f := range harmless {
		flip(t, cacheFile(t, cache, f.pattern))
	}
	output = useCache(t, cache, image)
	assert.NotContains(t, output, bootNotice, "with a byte flipped in each of %v", harmless)
	for _, f := range harmless {
		require.NoError(t, os.Truncate(cacheFile(t, cache, f.pattern), 0))
	}
	output = useCache(t, cache, image)
	assert.NotContains(t, output, bootNotice, "with each of %v emptied", harmless)
	assertTidy(t, cache)

	if soak() {
		spoilSnapshots(t, cache, image)
	}
}

// spoilSnapshots damages the only snapshot of a cache in several ways. At last it swaps
// the memory files of two snapshots.
func spoilSnapshots(t *testing.T, cache, image string) {
	for _, tc := range []struct {
		name  string
		spoil func(ram, state, info string)
		want  string
	}{
		{"byte of memory flipped", func(ram, _, _ string) { flip(t, ram) }, "its memory was altered"},
		{"byte of device state flipped", func(_, state, _ string) { flip(t, state) }, "its device state was altered"},
		{"description truncated", func(_, _, info string) { require.NoError(t, os.Truncate(info, 100)) }, "parse snapshot.json: "},
		{"memory truncated", func(ram, _, _ string) { require.NoError(t, os.Truncate(ram, 100<<20)) }, "its memory was altered"},
	} {
		tc.spoil(cacheFile(t, cache, "snapshots/*/ram"), cacheFile(t, cache, "snapshots/*/state"),
			cacheFile(t, cache, "snapshots/*/snapshot.json"))
		output := useCacheTwice(t, cache, image)
		assert.Contains(t, output, "is unusable ("+tc.want, tc.name)
		assert.Equal(t, 1, strings.Count(output, bootNotice), "boots after: %s\n%s", tc.name, output)
		assertTidy(t, cache)
	}

	plain := cacheFile(t, cache, "snapshots/*/ram")
	output := useCache(t, cache, image, otherGuest+"=1")
	assert.Contains(t, output, bootNotice, "output for a guest with another snapshot")
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
		output := useCache(t, cache, image, otherGuest+"="+other)
		assert.Contains(t, output, "is unusable (its memory was altered", "memory swapped, other guest %s", other)
	}
	assertTidy(t, cache)
}

// Two processes that share an empty cache build one image and boot it once, and both
// pass. After a byte of the image is flipped, it is built again, and the snapshot still
// fits.
func TestEmptyCache(t *testing.T) {
	hostSide(t)
	forSoak(t)
	if image := os.Getenv("VMTEST_IMAGE"); strings.Contains(image, "/") {
		t.Skipf("VMTEST_IMAGE=%s is a path, so there is nothing to build", image)
	}
	cache := t.TempDir()
	output := useCacheTwice(t, cache)
	assert.Equal(t, 1, strings.Count(output, buildNotice), "image builds\n%s", output)
	assert.Equal(t, 1, strings.Count(output, bootNotice), "boots\n%s", output)
	assertTidy(t, cache)

	flip(t, cacheFile(t, cache, "images/*/rootfs.squashfs"))
	output = useCacheTwice(t, cache)
	assert.Equal(t, 1, strings.Count(output, "rootfs.squashfs does not match its manifest; rebuilding"), output)
	assert.NotContains(t, output, bootNotice)
	assertTidy(t, cache)
}

// soak reports whether tests may take minutes, as in "make soak".
func soak() bool { return os.Getenv("VMTEST_SOAK") == "1" }

// forSoak skips a test that takes minutes, unless soak returns true.
func forSoak(t *testing.T) {
	t.Helper()
	if !soak() {
		t.Skip("takes minutes; set VMTEST_SOAK=1, or run make soak")
	}
}

// imageDir returns the directory of the image that this run tests.
func imageDir(t *testing.T) string { return ownImage(t).Dir() }

// ownImage returns the image of VMTEST_IMAGE, or the default one.
func ownImage(t *testing.T) *images.Image {
	name := os.Getenv("VMTEST_IMAGE")
	if name == "" {
		name = images.Default
	}
	image, err := images.Open(t.Context(), images.Spec{Base: name}, images.Options{})
	require.NoError(t, err)
	return image
}

// cacheFile returns the only file in the cache that matches a pattern.
func cacheFile(t *testing.T, cache, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cache, pattern))
	require.NoError(t, err)
	require.Len(t, found, 1, pattern)
	return found[0]
}

// flip changes the byte in the middle of a file, or adds one to an empty file. It
// restores the modification time.
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

// assertTidy asserts that a cache has only finished files, locks, and files that match
// the patterns in others.
func assertTidy(t *testing.T, cache string, others ...string) {
	t.Helper()
	known := append(others,
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
			return nil // opening the image compares these with its manifest
		}
		for _, pattern := range known {
			if ok, err := filepath.Match(pattern, rel); ok || err != nil {
				return err
			}
		}
		assert.Fail(t, "left in the cache: "+path)
		return nil
	})
	require.NoError(t, err)
}
