package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFilesBelow(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.go", "testdata/x/in", "sub/node_modules/big", ".git/config", "sub/.git/config", "skipped/b"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	}
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	for name, target := range map[string]string{"inside": "testdata/x", "up": "testdata/../a.go", "out": "../secret", "sub/absolute": "/etc/shadow"} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	fsys, outside, err := filesBelow(dir, []string{"node_modules", "skipped/*"})
	require.NoError(t, err)
	assert.Equal(t, []string{"out -> ../secret", "sub/absolute -> /etc/shadow"}, outside)
	var names []string
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		names = append(names, name)
		return err
	}))
	assert.Equal(t, []string{".", "a.go", "inside", "out", "skipped", "sub", "sub/absolute", "testdata", "testdata/x", "testdata/x/in", "up"}, names)
	target, err := fs.ReadLink(fsys, "out")
	require.NoError(t, err)
	assert.Equal(t, "../secret", target, "a link stays a link")
}

// A directory that is too large for a guest is refused before one starts, with what is large.
func TestFilesBelowAreBounded(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "dump"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dump/core"), nil, 0o600))
	require.NoError(t, os.Truncate(filepath.Join(dir, "dump/core"), 300<<20))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "small"), nil, 0o600))
	_, _, err := filesBelow(dir, nil)
	assert.EqualError(t, err, "copy "+dir+" to the guest: more than 256 MiB or 20000 files; leave something out with --exclude; "+
		"the largest are dump (300 MiB, 2 files), small (0 MiB, 1 files)")
	_, _, err = filesBelow(dir, []string{"dump"})
	assert.NoError(t, err)
}
