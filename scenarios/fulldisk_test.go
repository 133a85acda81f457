package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/lack"
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
	hostSide(t)
	forSoak(t)
	if dir := os.Getenv(fullDisk); dir != "" {
		if os.Getenv(fullDiskBuild) == "1" {
			t.Run("build", func(t *testing.T) { buildOnFullDisk(t, dir) })
		}
		t.Run("template", func(t *testing.T) { templateOnFullDisk(t, dir) })
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
		lack.Skip(t, fmt.Sprintf("this user cannot make mount namespaces: %v", err))
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
	assertRunning(t, g)
}

// templateOnFullDisk prepares a template while the disk of the cache is full, or becomes so
// when its snapshot is written. Nothing of that is kept, and the next process that has room
// prepares the template.
func templateOnFullDisk(t *testing.T, dir string) {
	cache := filepath.Join(dir, "template-cache")
	mountDisk(t, cache, "size=650m,mode=700")
	t.Setenv("VMTEST_CACHE", cache)
	const greeting = "/etc/greeting"
	prepared := 0
	var meanwhile func()
	prepare := func(ctx context.Context, m *vmtest.Machine) error {
		prepared++
		meanwhile()
		return m.WriteFile(ctx, greeting, []byte("hello"), 0o644)
	}
	// A new Template is what another process has.
	launch := func(change func()) (*vmtest.Machine, error) {
		meanwhile = change
		template := vmtest.Template{Name: "on a full disk", Config: vmtest.Config{Memory: 256}, Prepare: prepare}
		return template.Launch(t.Context())
	}
	snapshots := func() []string {
		list, err := filepath.Glob(filepath.Join(cache, "snapshots", "*", "*"))
		require.NoError(t, err)
		return list
	}

	var base []string
	for _, early := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		var others sync.WaitGroup
		m, err := launch(func() {
			base = snapshots()
			if early {
				fill(t, cache, 30<<20)
			} else {
				others.Go(func() { fillAfter(ctx, t, cache, 8<<20) })
			}
		})
		cancel()
		others.Wait()
		if m != nil {
			m.Close()
		}
		assertSaysNoSpace(t, err)
		assert.ErrorContains(t, err, cache)
		assert.Equal(t, early, strings.Contains(err.Error(), "a new snapshot needs"), "found before the work")
		assert.NotEmpty(t, base)
		assert.Equal(t, base, snapshots())
		assertTidy(t, cache, "filler")
		require.NoError(t, os.Remove(filepath.Join(cache, "filler")))
	}
	for range 2 {
		m, err := launch(func() {})
		require.NoError(t, err)
		text, err := m.ReadFile(t.Context(), greeting)
		assert.NoError(t, err)
		assert.Equal(t, "hello", string(text))
		m.Close()
		assert.Equal(t, 3, prepared, "one of them failed twice, and the last is kept")
	}
	assert.Greater(t, len(snapshots()), len(base))
	assert.NoError(t, unix.Unmount(cache, unix.MNT_DETACH))
}

// fillAfter fills the file system of dir when others have written some bytes.
func fillAfter(ctx context.Context, t *testing.T, dir string, written uint64) {
	var begin, now unix.Statfs_t
	assert.NoError(t, unix.Statfs(dir, &begin))
	for now = begin; (begin.Bavail-now.Bavail)*uint64(now.Bsize) < written; {
		if !assert.NoError(t, unix.Statfs(dir, &now)) || ctx.Err() != nil {
			return
		}
		runtime.Gosched() // nothing tells of it
	}
	f, err := os.Create(filepath.Join(dir, "filler"))
	if assert.NoError(t, err) {
		_, err = io.Copy(f, zeros{})
		assert.ErrorIs(t, err, unix.ENOSPC)
		assert.NoError(t, f.Close())
	}
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
