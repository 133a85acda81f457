package link_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// Copies make missing directories above their destination.
func TestCopyMakesParents(t *testing.T) {
	g := start(t, &agent.Server{})
	host, guest := t.TempDir(), t.TempDir()
	src := filepath.Join(host, "file")
	require.NoError(t, os.WriteFile(src, []byte("x"), 0o640))

	require.NoError(t, g.CopyIn(testContext(t), src, guest+"/a/b/file"))
	require.NoError(t, g.CopyIn(testContext(t), host, guest+"/c/d/tree"))
	require.NoError(t, g.CopyFS(testContext(t), os.DirFS(host), guest+"/e/f/tree"))
	require.NoError(t, g.WriteFile(testContext(t), guest+"/g/h/file", []byte("x"), 0o640))
	for _, dir := range []string{"a", "a/b", "c", "c/d", "e", "e/f", "g", "g/h"} {
		info, err := os.Stat(filepath.Join(guest, dir))
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o755), info.Mode().Perm(), dir)
	}
	for _, file := range []string{"a/b/file", "c/d/tree/file", "e/f/tree/file", "g/h/file"} {
		info, err := os.Stat(filepath.Join(guest, file))
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o640), info.Mode().Perm(), file)
	}
	clean(t, guest)
}

// Files and the directories above them belong to the owner that is asked for.
func TestCopyForOwner(t *testing.T) {
	g := start(t, &agent.Server{})
	host, guest := t.TempDir(), t.TempDir()
	src := filepath.Join(host, "file")
	require.NoError(t, os.WriteFile(src, []byte("x"), 0o600))
	require.NoError(t, os.Chmod(src, 0o750|fs.ModeSetuid))
	owner := link.Owner{UID: os.Getuid(), GID: os.Getgid()}
	if owner.UID == 0 {
		owner = link.Owner{UID: 1234, GID: 1235}
	}
	files := g.Files(&owner)

	require.NoError(t, files.CopyIn(testContext(t), src, guest+"/a/b/file"))
	require.NoError(t, files.CopyFS(testContext(t), os.DirFS(host), guest+"/c/tree"))
	require.NoError(t, files.CopyFS(testContext(t), embedded, guest+"/e"))
	dir, err := os.Stat(filepath.Join(guest, "e"))
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o755), dir.Mode().Perm())
	require.NoError(t, files.WriteFile(testContext(t), guest+"/d/file", []byte("x"), 0o640))
	for _, name := range []string{"a", "a/b", "a/b/file", "c", "c/tree", "c/tree/file", "d", "d/file"} {
		info, err := os.Stat(filepath.Join(guest, name))
		require.NoError(t, err)
		stat := info.Sys().(*syscall.Stat_t)
		assert.Equal(t, owner, link.Owner{UID: int(stat.Uid), GID: int(stat.Gid)}, name)
	}
	info, err := os.Stat(filepath.Join(guest, "a/b/file"))
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o750)|fs.ModeSetuid, info.Mode())
	clean(t, guest)
}
