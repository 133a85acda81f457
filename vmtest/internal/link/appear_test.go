package link_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
)

// watchedFS is a file system that calls read before each read of a file.
type watchedFS struct {
	fs.FS
	read func()
}

func (w watchedFS) Open(name string) (fs.File, error) {
	f, err := w.FS.Open(name)
	if _, dir := f.(fs.ReadDirFile); err != nil || dir {
		return f, err
	}
	return watchedFile{f, w.read}, nil
}

type watchedFile struct {
	fs.File
	read func()
}

func (w watchedFile) Read(p []byte) (int, error) {
	w.read()
	return w.File.Read(p)
}

// While a file is copied, its name in the guest is that of the file before it.
func TestFileIsCompleteUnderItsName(t *testing.T) {
	g := start(t, &agent.Server{})
	dst := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(dst, []byte("before"), 0o644))
	large := strings.Repeat("x", 1<<20)
	reads := 0
	fsys := watchedFS{fstest.MapFS{"file": {Data: []byte(large), Mode: 0o644}}, func() {
		reads++
		text, err := os.ReadFile(dst)
		assert.NoError(t, err)
		assert.Equal(t, "before", string(text[:min(len(text), 10)]), "the file during the copy; an incomplete one has its name")
	}}
	require.NoError(t, g.CopyFS(testContext(t), fsys, filepath.Dir(dst)))
	assert.Greater(t, reads, 4)
	text, err := os.ReadFile(dst)
	require.NoError(t, err)
	assert.True(t, string(text) == large, "the file after the copy has %d bytes, want %d", len(text), len(large))
}
