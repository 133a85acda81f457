package bundle

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

// memory is that of the machines of these tests, in MiB.
const memory = 1

// scratch returns a bundle with something in each file.
func scratch(t *testing.T, dir string) *Bundle {
	t.Helper()
	b, err := Scratch(dir, memory)
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	b.Info = Info{Test: "TestA", Memory: memory, Image: images.Manifest{Name: "debian-13"},
		Command: &evidence.Command{Args: []string{"false"}, Stdout: []byte("\x00\xff"), ExitCode: 1}}
	require.NoError(t, b.Snapshot.RAM.Truncate(memory<<20))
	_, err = b.Snapshot.RAM.WriteAt([]byte("memory"), 300<<10)
	require.NoError(t, err)
	for name, file := range b.files() {
		if *file == nil { // those of the image are elsewhere
			*file, err = os.OpenFile(filepath.Join(t.TempDir(), name), os.O_RDWR|os.O_CREATE, 0o600)
			require.NoError(t, err)
		}
		if name != ramName {
			_, err = (*file).WriteString("this is " + name)
			require.NoError(t, err)
		}
	}
	return b
}

// written returns the directory of evidence with a bundle.
func written(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	_, err := scratch(t, dir).Write(t.Context(), dir)
	require.NoError(t, err)
	return dir
}

func TestBundle(t *testing.T) {
	dir := t.TempDir()
	b := scratch(t, dir)
	size, err := b.Write(t.Context(), dir)
	require.NoError(t, err)
	assert.Less(t, size.Own, int64(memory<<20), "the memory is sparse")
	assert.Positive(t, size.Shared, "hard links")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "%v", entries)
	for _, path := range []string{dir, filepath.Join(dir, Name)} {
		got, err := Open(t.Context(), path)
		require.NoError(t, err)
		assert.Equal(t, b.Info, got.Info)
		root := make([]byte, 100)
		n, _ := got.Root.ReadAt(root, 0)
		assert.Equal(t, "this is rootfs.squashfs", string(root[:n]))
		assert.NoError(t, got.Close())
	}
}

// A copy without holes is the same machine.
func TestCopyWithoutHoles(t *testing.T) {
	dir := written(t)
	ram := filepath.Join(dir, Name, ramName)
	data, err := os.ReadFile(ram)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(ram, data, 0o600))
	b, err := Open(t.Context(), dir)
	require.NoError(t, err)
	assert.NoError(t, b.Close())
}

// Where a file cannot be linked, a copy is made, of this user's alone.
func TestBundleOfAFileThatOthersCanWrite(t *testing.T) {
	dir := t.TempDir()
	b := scratch(t, dir)
	require.NoError(t, b.Root.Chmod(0o666))
	_, err := b.Write(t.Context(), dir)
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(dir, Name, rootName))
	require.NoError(t, err)
	assert.Equal(t, "-rw-------", info.Mode().String())
	got, err := Open(t.Context(), dir)
	require.NoError(t, err)
	assert.NoError(t, got.Close())
}

// A bundle with a file that was changed is not opened, and the error names the file.
func TestBundleThatWasAltered(t *testing.T) {
	for name := range scratch(t, t.TempDir()).files() {
		for how, alter := range map[string]func(path string) error{
			" was altered":      func(path string) error { return flip(path) },
			" bytes instead of": func(path string) error { return os.Truncate(path, 5) },
			" is missing":       os.Remove,
			" is not a regular file": func(path string) error {
				if err := os.Rename(path, path+"~"); err != nil {
					return err
				}
				return os.Symlink(path+"~", path)
			},
		} {
			dir := written(t)
			require.NoError(t, alter(filepath.Join(dir, Name, name)))
			_, err := Open(t.Context(), dir)
			require.Error(t, err, "%s%s", name, how)
			assert.Contains(t, err.Error(), filepath.Join(dir, Name)+": "+name)
			assert.Contains(t, err.Error(), how)
		}
	}
}

// flip changes a byte of a file.
func flip(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], 3); err != nil {
		return err
	}
	b[0]++
	_, err = f.WriteAt(b[:], 3)
	return err
}

// A description that was cut is an error, as is one of another format.
func TestDescriptionThatWasAltered(t *testing.T) {
	dir := written(t)
	path := filepath.Join(dir, Name, infoName)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for says, altered := range map[string]string{
		"machine.json was altered: unexpected end of JSON input": string(data[:len(data)/2]),
		"machine.json is of format 2 with":                       strings.Replace(string(data), `"format": 1`, `"format": 2`, 1),
		"it has control characters in \"Test\\x1bA\"":            strings.Replace(string(data), `"TestA"`, `"Test\u001bA"`, 1),
		"with a snapshot of format 77, and":                      strings.Replace(string(data), `"snapshots": `, `"snapshots": 77, "was": `, 1),
		"state has 13 bytes instead of 0":                        strings.Replace(string(data), `"state"`, `"elsewhere"`, 1),
	} {
		require.NoError(t, os.WriteFile(path, []byte(altered), 0o600))
		_, err := Open(t.Context(), dir)
		assert.ErrorContains(t, err, says)
	}
}

// A bundle of another user, and one that others can write, is not opened.
func TestBundleOfOthers(t *testing.T) {
	dir := written(t)
	ram := filepath.Join(dir, Name, ramName)
	require.NoError(t, os.Chmod(ram, 0o666))
	_, err := Open(t.Context(), dir)
	assert.ErrorContains(t, err, "other users can write "+ram)
	require.NoError(t, os.Chmod(ram, 0o600))
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	for _, path := range []string{ram, filepath.Join(dir, Name), filepath.Join(dir, Name, infoName)} {
		require.NoError(t, os.Chown(path, 12345, -1))
		_, err = Open(t.Context(), dir)
		assert.ErrorContains(t, err, path+" belongs to user 12345, not to user root (0)")
		require.NoError(t, os.Chown(path, 0, -1))
	}
}

// A bundle whose time is over leaves nothing, and what a killed process left is none.
func TestUnfinishedBundle(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := scratch(t, dir).Write(ctx, dir)
	assert.ErrorIs(t, err, context.Canceled)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)

	dir = written(t)
	require.NoError(t, os.Rename(filepath.Join(dir, Name), filepath.Join(dir, "."+Name+"-123")))
	_, err = Open(t.Context(), dir)
	assert.ErrorContains(t, err, "is not the directory of a failed test")
}

// The reason why there is no machine is said, and a file that is no text of this user's holds
// nothing up.
func TestEvidenceWithoutBundle(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "summary.txt"), nil, 0o600))
	why := filepath.Join(dir, WhyNot)
	for says, write := range map[string]func() error{
		"has no machine: the guest is gone": func() error { return os.WriteFile(why, []byte("the guest is gone\nmore"), 0o600) },
		"has no machine: run the test with": func() error { return unix.Mkfifo(why, 0o600) },
		"has no machine: run the test":      func() error { return os.Symlink("/dev/zero", why) },
	} {
		require.NoError(t, write())
		_, err := Open(t.Context(), dir)
		assert.ErrorContains(t, err, says)
		require.NoError(t, os.Remove(why))
	}
}
