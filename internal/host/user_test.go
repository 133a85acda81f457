package host

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const ordinary = 12345

// asOrdinary runs f as an ordinary user. In a test that runs as root it changes the
// effective user of one thread, and gives that user the directory dir.
func asOrdinary(t *testing.T, dir string, f func() error) error {
	t.Helper()
	if os.Geteuid() != 0 {
		return f()
	}
	require.NoError(t, os.Chown(dir, ordinary, -1))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755))
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		const same = ^uintptr(0)
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, same, ordinary, same); errno != 0 {
			result <- errno
			return
		}
		result <- f()
	}()
	return <-result
}

func TestReadOnlyCacheNamesTheVariable(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0))
	require.NoError(t, os.Chmod(dir, 0o500))
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	for name, f := range map[string]func() error{
		"cache":        func() error { _, err := CacheIn(dir, ""); return err },
		"subdirectory": func() error { _, err := CacheIn(dir, "images"); return err },
		"lock":         func() error { _, err := LockFile(t.Context(), filepath.Join(dir, "lock"), nil); return err },
		"try lock":     func() error { _, err := TryLockFile(filepath.Join(dir, "lock")); return err },
		"nameless":     func() error { _, err := Nameless(dir); return err },
		"read":         func() error { _, err := os.ReadFile(filepath.Join(dir, "file")); return Explain(err, dir) },
		"rename": func() error {
			return Explain(os.Rename(filepath.Join(dir, "file"), filepath.Join(dir, "other")), dir)
		},
	} {
		err := asOrdinary(t, dir, f)
		var lacks *Error
		if assert.ErrorAs(t, err, &lacks, name) {
			assert.ErrorIs(t, err, os.ErrPermission, name)
			assert.Contains(t, lacks.Cure, "VMTEST_CACHE", name)
		}
	}
}

func TestExplainLeavesOtherErrors(t *testing.T) {
	elsewhere := &os.PathError{Op: "open", Path: "/other/file", Err: syscall.EACCES}
	assert.Equal(t, error(elsewhere), Explain(elsewhere, "/cache"))
	gone := &os.PathError{Op: "open", Path: "/cache/file", Err: syscall.ENOENT}
	assert.Equal(t, error(gone), Explain(gone, "/cache"))
	assert.NoError(t, Explain(nil, "/cache"))
	var lacks *Error
	assert.ErrorAs(t, Explain(&os.PathError{Op: "open", Path: "/cache/file", Err: syscall.EROFS}, "/cache"), &lacks)
	assert.ErrorAs(t, Explain(&os.PathError{Op: "write", Path: "/other", Err: syscall.ENOSPC}, "/cache"), &lacks)
}
