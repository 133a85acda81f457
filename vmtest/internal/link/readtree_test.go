package link_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

func TestCopyOutDirectory(t *testing.T) {
	g := start(t, &agent.Server{})
	guest, host := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(guest, "a/b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(guest, "a/b/file"), []byte("new"), 0o640))
	require.NoError(t, os.WriteFile(filepath.Join(guest, "top"), []byte("top"), 0o600))
	to := filepath.Join(host, "out")
	require.NoError(t, g.CopyOut(testContext(t), guest, to))
	require.NoError(t, g.CopyOut(testContext(t), guest, to), "into a directory that exists")
	data, err := os.ReadFile(filepath.Join(to, "a/b/file"))
	require.NoError(t, err)
	assert.Equal(t, "new", string(data))
	info, err := os.Stat(filepath.Join(to, "a/b/file"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode())

	// What is neither file nor directory is named, and all else copied.
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(guest, "a/link")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(guest, "pipe"), 0o600))
	other := filepath.Join(host, "other")
	err = g.CopyOut(testContext(t), guest, other)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, "a/link: neither file")
	assert.ErrorContains(t, err, "pipe: neither file")
	assert.FileExists(t, filepath.Join(other, "top"))
	clean(t, host)
}

// Of many files that are not copied, some are named.
func TestCopyOutDirectoryOfLinks(t *testing.T) {
	g := start(t, &agent.Server{})
	guest := t.TempDir()
	for i := range 25 {
		require.NoError(t, os.Symlink("x", filepath.Join(guest, fmt.Sprint(i))))
	}
	err := g.CopyOut(testContext(t), guest, filepath.Join(t.TempDir(), "out"))
	require.ErrorIs(t, err, errors.ErrUnsupported)
	assert.Equal(t, 10, strings.Count(err.Error(), ": neither file"))
	assert.ErrorContains(t, err, "\n15 more: ")
}

// A file that is removed while its directory is copied is left out.
func TestCopyOutDirectoryThatChanges(t *testing.T) {
	g := start(t, &agent.Server{})
	guest, to := t.TempDir(), filepath.Join(t.TempDir(), "out")
	for _, name := range []string{"a", "b"} {
		require.NoError(t, os.WriteFile(filepath.Join(guest, name), make([]byte, 64<<20), 0o600))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	removed := make(chan struct{})
	go func() { // when the first of them is being copied
		defer close(removed)
		for ctx.Err() == nil {
			if entries, err := os.ReadDir(to); err == nil && len(entries) > 0 {
				os.Remove(filepath.Join(guest, "a"))
				os.Remove(filepath.Join(guest, "b"))
				return
			}
			runtime.Gosched()
		}
	}()
	require.NoError(t, g.CopyOut(testContext(t), guest, to))
	<-removed
	entries, err := os.ReadDir(to)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "the one that was open")
	assert.ErrorIs(t, g.CopyOut(testContext(t), filepath.Join(guest, "gone"), to+"2"), os.ErrNotExist, "what the caller named")
}

// A guest cannot make the host write outside the directory that it copies to.
func TestCopyOutDirectoryStaysInside(t *testing.T) {
	g := start(t, &agent.Server{})
	guest, host := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(guest, "dir"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(guest, "dir/file"), []byte("bad"), 0o600))
	outside, to := filepath.Join(host, "outside"), filepath.Join(host, "to")
	require.NoError(t, os.Mkdir(outside, 0o700))
	require.NoError(t, os.Mkdir(to, 0o700))
	require.NoError(t, os.Symlink("../outside", filepath.Join(to, "dir")))
	assert.ErrorContains(t, g.CopyOut(testContext(t), guest, to), "path escapes from parent")
	assert.NoFileExists(t, filepath.Join(outside, "file"))
	clean(t, host)
}

func TestCopyOutDirectoryIsBounded(t *testing.T) {
	g := start(t, &agent.Server{})
	guest, host := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(guest, "sparse"), nil, 0o600))
	require.NoError(t, os.Truncate(filepath.Join(guest, "sparse"), 1<<40))
	link.SetMaxTreeBytes(t, 1<<20)
	assert.ErrorIs(t, g.CopyOut(testContext(t), guest, filepath.Join(host, "out")), link.ErrTreeTooLarge)
	clean(t, host)
}
