package initrd_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/initrd"
)

// entry is what the tests look at of an archive's entry.
type entry struct {
	name    string
	mode    cpio.FileMode
	content string // or the target of a link
}

func readArchive(t *testing.T, from io.Reader) []entry {
	t.Helper()
	var entries []entry
	r := cpio.NewReader(from)
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		assert.Zero(t, header.Uid, header.Name)
		assert.Zero(t, header.Guid, header.Name)
		assert.Zero(t, header.ModTime.Unix(), header.Name)
		entries = append(entries, entry{header.Name, header.Mode, string(content) + header.Linkname})
	}
}

func testArchive(t *testing.T) initrd.Archive {
	t.Helper()
	modules := t.TempDir()
	for name, content := range map[string]string{
		"lib/modules/6.1/kernel/b/virtio_blk.ko": "blk",
		"lib/modules/6.1/kernel/a/virtio.ko":     "virtio",
		"lib/modules/6.1/modules.dep":            "kernel/b/virtio_blk.ko: kernel/a/virtio.ko\n",
	} {
		path := filepath.Join(modules, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return initrd.Archive{
		Agent:      []byte("agent!!"), // of a length that needs padding
		ModulesDir: modules,
		Modules:    []string{"virtio", "virtio_blk"},
		Run:        map[string]string{"systemd/system/b.service": "b", "systemd/system/a.service": ""},
		RunLinks:   map[string]string{"systemd/system/x.target.wants/b.service": "../b.service", "systemd/system/masked.service": "/dev/null"},
	}
}

func TestBuild(t *testing.T) {
	a := testArchive(t)
	f, err := initrd.Build(a)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Seek(0, io.SeekStart)
	require.NoError(t, err)
	const (
		dir  = cpio.TypeDir | 0o755
		file = cpio.TypeReg | 0o644
		link = cpio.TypeSymlink | 0o777
	)
	assert.Equal(t, []entry{
		{"init", cpio.TypeReg | 0o755, "agent!!"},
		{"vmtest.json", file, `{"modules":["virtio","virtio_blk"]}`},
		{"lib", dir, ""},
		{"lib/modules", dir, ""},
		{"lib/modules/6.1", dir, ""},
		{"lib/modules/6.1/kernel", dir, ""},
		{"lib/modules/6.1/kernel/a", dir, ""},
		{"lib/modules/6.1/kernel/a/virtio.ko", file, "virtio"},
		{"lib/modules/6.1/kernel/b", dir, ""},
		{"lib/modules/6.1/kernel/b/virtio_blk.ko", file, "blk"},
		{"lib/modules/6.1/modules.dep", file, "kernel/b/virtio_blk.ko: kernel/a/virtio.ko\n"},
		{"vmtest-run", dir, ""},
		{"vmtest-run/systemd", dir, ""},
		{"vmtest-run/systemd/system", dir, ""},
		{"vmtest-run/systemd/system/a.service", file, ""},
		{"vmtest-run/systemd/system/b.service", file, "b"},
		{"vmtest-run/systemd/system/masked.service", link, "/dev/null"},
		{"vmtest-run/systemd/system/x.target.wants", dir, ""},
		{"vmtest-run/systemd/system/x.target.wants/b.service", link, "../b.service"},
	}, readArchive(t, f))
}

// TestBuildIsReproducible compares archives of two trees that were written at
// different times.
func TestBuildIsReproducible(t *testing.T) {
	var archives [2][]byte
	for i := range archives {
		f, err := initrd.Build(testArchive(t))
		require.NoError(t, err)
		defer f.Close()
		archives[i], err = io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
		require.NoError(t, err)
	}
	assert.Equal(t, archives[0], archives[1])
}

func TestBuildWithoutModules(t *testing.T) {
	f, err := initrd.Build(initrd.Archive{ModulesDir: t.TempDir()})
	require.NoError(t, err, "a kernel may need none")
	defer f.Close()
	assert.Len(t, readArchive(t, io.NewSectionReader(f, 0, 1<<30)), 3)

	_, err = initrd.Build(initrd.Archive{ModulesDir: "/no/such"})
	assert.ErrorContains(t, err, "build initrd: read kernel modules: ")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestBuildPathsStayBelow(t *testing.T) {
	f, err := initrd.Build(initrd.Archive{ModulesDir: t.TempDir(), Run: map[string]string{"/a//b": "x"}})
	require.NoError(t, err)
	defer f.Close()
	entries := readArchive(t, io.NewSectionReader(f, 0, 1<<30))
	assert.Equal(t, entry{"vmtest-run/a/b", cpio.TypeReg | 0o644, "x"}, entries[len(entries)-1])
}
