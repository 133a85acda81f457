package link_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
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
