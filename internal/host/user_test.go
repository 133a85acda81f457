package host

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/ordinary"
)

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
		err := ordinary.Run([]string{dir}, f)
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
