package link_test

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

//go:embed link_test.go
var embedded embed.FS

// clean fails if a temporary file was left.
func clean(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		assert.NotContains(t, path, ".systemd-vmtest-")
		return err
	}))
}

func TestCopyInFile(t *testing.T) {
	g := start(t, &agent.Server{})
	host, guest := t.TempDir(), t.TempDir()
	src := filepath.Join(host, "tool")
	require.NoError(t, os.WriteFile(src, []byte("one"), 0o600))
	require.NoError(t, os.Chmod(src, 0o751|fs.ModeSetuid))
	dst := filepath.Join(guest, "tool")
	require.NoError(t, os.Symlink("/etc/hostname", dst))

	require.NoError(t, g.CopyIn(testContext(t), src, dst))
	info, err := os.Lstat(dst)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o751)|fs.ModeSetuid, info.Mode(), "mode kept, symlink replaced")
	content, err := g.ReadFile(testContext(t), dst)
	require.NoError(t, err)
	assert.Equal(t, "one", string(content))

	linked := filepath.Join(host, "linked")
	require.NoError(t, os.Symlink(src, linked))
	require.NoError(t, g.CopyIn(testContext(t), linked, filepath.Join(guest, "linked")))
	info, err = os.Lstat(filepath.Join(guest, "linked"))
	require.NoError(t, err)
	assert.True(t, info.Mode().IsRegular())
	clean(t, guest)
}

func TestCopyInRefusals(t *testing.T) {
	g := start(t, &agent.Server{})
	host, guest := t.TempDir(), t.TempDir()
	src := filepath.Join(host, "file")
	require.NoError(t, os.WriteFile(src, []byte("x"), 0o644))
	fifo := filepath.Join(host, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	inTheWay := filepath.Join(guest, "file")
	require.NoError(t, os.WriteFile(inTheWay, nil, 0o644))

	for name, test := range map[string]struct {
		from, to string
		is       error
		text     string
	}{
		"over a directory":    {src, guest, syscall.EISDIR, guest + ": is a directory"},
		"file as directory":   {src, inTheWay + "/file", syscall.ENOTDIR, "directory " + inTheWay + " of the guest"},
		"no source":           {src + "x", guest + "/file", fs.ErrNotExist, src + "x"},
		"relative":            {src, "file", nil, "not absolute"},
		"pipe":                {fifo, guest + "/fifo", errors.ErrUnsupported, "neither file"},
		"pipe in directory":   {host, guest + "/tree", errors.ErrUnsupported, "fifo: neither file"},
		"directory over file": {host, inTheWay, syscall.ENOTDIR, inTheWay},
		"directory in a file": {host, inTheWay + "/tree", syscall.ENOTDIR, inTheWay},
		"below a file":        {src, inTheWay + "/no/file", syscall.ENOTDIR, inTheWay},
	} {
		err := g.CopyIn(testContext(t), test.from, test.to)
		assert.ErrorContains(t, err, test.text, name)
		if test.is != nil {
			assert.ErrorIs(t, err, test.is, name)
		}
	}
	clean(t, guest)
}

func TestCopyInTree(t *testing.T) {
	g := start(t, &agent.Server{})
	host := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(host, "a/b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(host, "a/b/run"), []byte("run"), 0o755))
	for i := range 30 {
		name := filepath.Join(host, "a", strings.Repeat("f", i+1))
		require.NoError(t, os.WriteFile(name, []byte(name), 0o640))
	}
	require.NoError(t, os.Symlink("b/run", filepath.Join(host, "a/rel")))
	require.NoError(t, os.Symlink("/no/such", filepath.Join(host, "a/dangling")))
	require.NoError(t, os.Symlink("b", filepath.Join(host, "a/dir")))
	require.NoError(t, os.Chmod(filepath.Join(host, "a/b"), 0o550))

	guest := t.TempDir()
	require.NoError(t, os.Chmod(guest, 0o711))
	require.NoError(t, g.CopyIn(testContext(t), host, guest))
	info, err := os.Stat(filepath.Join(guest, "a/b"))
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o550), info.Mode().Perm(), "a directory that is made keeps its mode")
	// Once more over the first copy, whose directories exist now.
	for _, dir := range []string{host, guest} {
		t.Cleanup(func() { os.Chmod(filepath.Join(dir, "a/b"), 0o700) }) // to be removable
	}
	require.NoError(t, os.Chmod(filepath.Join(guest, "a/b"), 0o750))
	require.NoError(t, g.CopyIn(testContext(t), host, guest))
	for name, want := range map[string]fs.FileMode{"a": 0o755, "a/b": 0o750, "a/b/run": 0o755, "a/f": 0o640, ".": 0o711} {
		info, err := os.Stat(filepath.Join(guest, name))
		require.NoError(t, err)
		assert.Equal(t, want, info.Mode().Perm(), name)
	}
	for name, want := range map[string]string{"a/rel": "b/run", "a/dangling": "/no/such", "a/dir": "b"} {
		target, err := os.Readlink(filepath.Join(guest, name))
		require.NoError(t, err)
		assert.Equal(t, want, target)
	}
	clean(t, guest)
}

func TestCopyFS(t *testing.T) {
	g := start(t, &agent.Server{})
	guest := filepath.Join(t.TempDir(), "made")
	// MapFS reports directories of mode 0555, which an ordinary user cannot empty.
	made := guest
	t.Cleanup(func() {
		os.Chmod(made, 0o700)
		os.Chmod(filepath.Join(made, "demo.d"), 0o700)
	})
	require.NoError(t, g.CopyFS(testContext(t), fstest.MapFS{
		"demo.service":     {Data: []byte("[Service]\n"), Mode: 0o644},
		"demo.d/over.conf": {Data: []byte("#\n"), Mode: 0o600},
		"alias.service":    {Data: []byte("demo.service"), Mode: fs.ModeSymlink | 0o777},
	}, guest))
	target, err := os.Readlink(filepath.Join(guest, "alias.service"))
	require.NoError(t, err)
	assert.Equal(t, "demo.service", target)
	content, err := os.ReadFile(filepath.Join(guest, "demo.d/over.conf"))
	require.NoError(t, err)
	assert.Equal(t, "#\n", string(content))

	guest = t.TempDir()
	require.NoError(t, g.CopyFS(testContext(t), embedded, guest))

	err = g.CopyFS(testContext(t), os.DirFS("/no/units"), guest)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "copy /no/units to guest "+guest)
	info, err := os.Stat(filepath.Join(guest, "link_test.go"))
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o444), info.Mode(), "as embed.FS reports it")
}

func TestCopyLargeFile(t *testing.T) {
	g := start(t, &agent.Server{})
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	file, err := os.Create(src)
	require.NoError(t, err)
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for i := range 32 {
		block[i] ^= byte(i + 1) // no two alike
		_, err = file.Write(block)
		require.NoError(t, err)
	}
	require.NoError(t, file.Close())
	runtime.GC()
	peak := watchHeap()
	ctx := testContext(t)
	require.NoError(t, g.CopyIn(ctx, src, dir+"/in"))
	require.NoError(t, g.CopyOut(ctx, dir+"/in", dir+"/out"))
	assert.Less(t, peak(), uint64(16<<20), "heap must not grow with the file")
	assert.True(t, equalFiles(t, src, dir+"/out"))
	clean(t, dir)
}

func equalFiles(t *testing.T, a, b string) bool {
	t.Helper()
	left, err := os.Open(a)
	require.NoError(t, err)
	defer left.Close()
	right, err := os.Open(b)
	require.NoError(t, err)
	defer right.Close()
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errX := io.ReadFull(left, x)
		m, errY := io.ReadFull(right, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) || errX != errY {
			return false
		}
		if errX != nil {
			return true
		}
	}
}

// countdown is a context that ends when it is asked for its error for the nth time:
// in the middle of a copy, which asks before each packet.
type countdown struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int32
}

func newCountdown(t *testing.T, n int32) *countdown {
	c := &countdown{}
	c.Context, c.cancel = context.WithCancel(testContext(t))
	c.left.Store(n)
	return c
}

func (c *countdown) Err() error {
	if c.left.Add(-1) == 0 {
		c.cancel()
	}
	return c.Context.Err()
}

func TestCopyContext(t *testing.T) {
	g := start(t, &agent.Server{})
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	require.NoError(t, os.WriteFile(src, nil, 0o644))
	require.NoError(t, os.Truncate(src, 8<<30)) // sparse
	assert.ErrorIs(t, g.CopyIn(newCountdown(t, 20), src, dir+"/in"), context.Canceled)
	assert.ErrorIs(t, g.CopyOut(newCountdown(t, 20), src, dir+"/out"), context.Canceled)
	assert.NoFileExists(t, dir+"/in")
	assert.NoFileExists(t, dir+"/out")
	clean(t, dir)
	require.NoError(t, g.WriteFile(testContext(t), dir+"/in", []byte("x"), 0o644), "the session must survive")
}

func TestReadFile(t *testing.T) {
	g := start(t, &agent.Server{})
	dir := t.TempDir()
	require.NoError(t, g.WriteFile(testContext(t), dir+"/empty", nil, 0o600))
	content, err := g.ReadFile(testContext(t), dir+"/empty")
	require.NoError(t, err)
	assert.Empty(t, content)
	content, err = g.ReadFile(testContext(t), "/proc/version")
	require.NoError(t, err)
	assert.Contains(t, string(content), "Linux")

	_, err = g.ReadFile(testContext(t), dir)
	assert.ErrorIs(t, err, syscall.EISDIR)
	_, err = g.ReadFile(testContext(t), dir+"/missing")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.Truncate(dir+"/empty", 64<<20+1))
	_, err = g.ReadFile(testContext(t), dir+"/empty")
	assert.ErrorIs(t, err, link.ErrTooLarge)
	require.NoError(t, syscall.Mkfifo(dir+"/fifo", 0o600))
	_, err = g.ReadFile(testContext(t), dir+"/fifo")
	assert.ErrorIs(t, err, errors.ErrUnsupported)

	require.NoError(t, g.WriteFile(testContext(t), dir+"/a", []byte("a"), 0o640))
	assert.ErrorIs(t, g.CopyOut(testContext(t), dir+"/a", dir), syscall.EISDIR)
	assert.ErrorIs(t, g.CopyOut(testContext(t), dir+"/a", dir+"/no/a"), fs.ErrNotExist)
	assert.ErrorIs(t, g.CopyOut(testContext(t), dir+"/missing", dir+"/b"), fs.ErrNotExist)
	require.NoError(t, g.CopyOut(testContext(t), dir+"/a", dir+"/b"))
	info, err := os.Stat(dir + "/b")
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o640), info.Mode())
	clean(t, dir)
}
