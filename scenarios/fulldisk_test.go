package scenarios

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest"
)

// fullDisk is set in a process where TestFullDisk can mount small file systems. Its value
// is a directory for them.
const fullDisk = "VMTEST_FULL_DISK"

// fullDiskBuild makes that process also build an image. An ordinary user's namespace has
// only one user ID, which is not enough for that.
const fullDiskBuild = "VMTEST_FULL_DISK_BUILD"

// A cache on a full disk yields an error of one line with the cure, and leaves no
// unfinished files. The disk may be full from the beginning, or become so during the
// work. A full disk under the temporary files does not disturb a running guest.
func TestFullDisk(t *testing.T) {
	forSoak(t)
	if dir := os.Getenv(fullDisk); dir != "" {
		if os.Getenv(fullDiskBuild) == "1" {
			t.Run("build", func(t *testing.T) { buildOnFullDisk(t, dir) })
		}
		onFullDisks(t, dir)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), fullDisk+"="+t.TempDir(), "VMTEST_IMAGE="+imageDir(t))
	// The mounts vanish with the process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() == 0 {
		cmd.Env = append(cmd.Env, fullDiskBuild+"=1")
	} else {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		}
	}
	output, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("this user cannot make mount namespaces: %v", err)
	}
	require.NoError(t, err, "output:\n%s", output)
}

// buildOnFullDisk fills the cache's file system while an image is built.
func buildOnFullDisk(t *testing.T, dir string) {
	cache, tmp := filepath.Join(dir, "build-cache"), filepath.Join(dir, "build-tmp")
	mountDisk(t, cache, "size=500m,mode=700")
	mountDisk(t, tmp, "size=1g,mode=1777")
	t.Setenv("TMPDIR", tmp)
	var once sync.Once
	_, err := images.Build(t.Context(), images.Spec{Base: images.Default}, images.Options{Cache: cache, Progress: func(p images.Progress) {
		if p.Stage == images.Installing {
			once.Do(func() { fill(t, cache, 60<<20) })
		}
	}})
	assertSaysNoSpace(t, err)
	assertTidy(t, cache, "filler")
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	assert.Empty(t, left, "temporary files")
	assert.NoError(t, unix.Unmount(cache, unix.MNT_DETACH))
	assert.NoError(t, unix.Unmount(tmp, unix.MNT_DETACH))
}

// onFullDisks starts guests while the disk of the cache or of the temporary files is full.
func onFullDisks(t *testing.T, dir string) {
	// A guest with little memory halves the time of this test.
	config := vmtest.Config{Memory: 256}
	cache, tmp := filepath.Join(dir, "cache"), filepath.Join(dir, "tmp")
	t.Setenv("VMTEST_CACHE", cache)

	mountDisk(t, cache, "size=100m,mode=700")
	assertNoSpace(t, config)
	assert.NoError(t, unix.Unmount(cache, unix.MNT_DETACH))

	mountDisk(t, cache, "size=320m,mode=700")
	filled := config
	filled.Progress = func(p images.Progress) {
		if strings.Contains(p.Text, bootNotice) {
			fill(t, cache, 30<<20)
		}
	}
	// The process tries a failed snapshot only once, so take another guest.
	filled.KernelArgs = []string{"vmtest.filled"}
	assertNoSpace(t, filled)
	require.NoError(t, os.Remove(filepath.Join(cache, "filler")))

	mountDisk(t, tmp, "size=1m,mode=700")
	t.Setenv("TMPDIR", tmp)
	config.KernelArgs = []string{"vmtest.tmp"}
	config.Progress = func(p images.Progress) {
		if strings.Contains(p.Text, bootNotice) {
			fill(t, tmp, 0)
		}
	}
	g := vmtest.Start(t, config)
	g.Run(t, "sh", "-c", "head -c 50000000 /dev/urandom > /root/big && sync")
	assert.Equal(t, "running\n", g.Run(t, "systemctl", "is-system-running"))
}

// assertNoSpace asserts that a guest does not start because the disk is full, and that
// this leaves no unfinished files.
func assertNoSpace(t *testing.T, config vmtest.Config) {
	t.Helper()
	m, err := vmtest.Launch(t.Context(), config)
	if m != nil {
		m.Close()
	}
	assertSaysNoSpace(t, err)
	left, err := filepath.Glob(filepath.Join(os.Getenv("VMTEST_CACHE"), "snapshots", "*", "*"))
	require.NoError(t, err)
	assert.Empty(t, left)
	assertTidy(t, os.Getenv("VMTEST_CACHE"), "filler")
}

// assertSaysNoSpace asserts that err reports a full disk and its cure in one line.
func assertSaysNoSpace(t *testing.T, err error) {
	t.Helper()
	var host *vmtest.HostError
	require.ErrorAs(t, err, &host)
	t.Log(err)
	assert.Contains(t, host.Cause, "no space: ")
	assert.Contains(t, host.Cure, "vmtest snapshot prune")
	assert.Contains(t, host.Cure, "VMTEST_CACHE")
	assert.NotContains(t, err.Error(), "\n")
}

// mountDisk makes the directory dir and mounts a small tmpfs there. Its mode is 1777 if
// options has none.
func mountDisk(t *testing.T, dir, options string) {
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, options))
}

// fill writes a file to dir that leaves free bytes in the file system.
func fill(t *testing.T, dir string, free int64) {
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	f, err := os.Create(filepath.Join(dir, "filler"))
	require.NoError(t, err)
	defer f.Close()
	_, err = io.CopyN(f, zeros{}, int64(st.Bavail)*st.Bsize-free)
	require.NoError(t, err)
}
