package rootfs

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"

	"example.org/systemd-vmtest/internal/lack"
)

func reader(b []byte) io.Reader { return bytes.NewReader(b) }

// compressors are by the end of a file's name.
var compressors = map[string]func(io.Writer) (io.WriteCloser, error){
	"":     func(w io.Writer) (io.WriteCloser, error) { return nopWriteCloser{w}, nil },
	".gz":  func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
	".xz":  func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
	".zst": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

func compressed(t testing.TB, ext string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := compressors[ext](&b)
	require.NoError(t, err)
	_, err = w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func readFile(t testing.TB, content []byte) (*Tree, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return readPath(t, path)
}

func readPath(t testing.TB, path string) (*Tree, error) {
	t.Helper()
	tree, err := Read(t.Context(), path, Options{Dir: t.TempDir(), Max: testMax, Arch: "amd64"})
	if err == nil {
		t.Cleanup(tree.Close)
	}
	return tree, err
}

func TestReadTar(t *testing.T) {
	for ext := range compressors {
		tree, err := readFile(t, compressed(t, ext, makeTar(t, file("etc/passwd", "root"))))
		require.NoError(t, err, ext)
		assert.Equal(t, "tar archive", tree.Kind)
		assert.Equal(t, []string{"./etc/", "./etc/passwd = root"}, listing(t, tree))
	}
}

// The name of the first entry can be the beginning of another format.
func TestReadTarWithANameLikeAnotherFormat(t *testing.T) {
	for _, name := range []string{"PKGBUILD", "BZh", "070701"} {
		tree, err := readFile(t, makeTar(t, file(name, "x")))
		require.NoError(t, err, name)
		assert.Equal(t, []string{"./" + name + " = x"}, listing(t, tree))
	}
}

// A torn archive is an error wherever it ends, or nothing is missing but an index.
func TestReadTornTar(t *testing.T) {
	whole := makeTar(t, file("a", strings.Repeat("a", 700)), file("b", strings.Repeat("b", 100)))
	want := []string{"./a = " + strings.Repeat("a", 700), "./b = " + strings.Repeat("b", 100)}
	for ext := range compressors {
		b := compressed(t, ext, whole)
		for end := 1; end < len(b); end += 1 + len(b)/300 {
			tree, err := readFile(t, b[:end])
			if err == nil && end > len(b)-1024 {
				require.Equal(t, want, listing(t, tree), "%s, %d of %d bytes", ext, end, len(b))
				continue
			}
			require.ErrorAs(t, err, new(*Error), "%s, %d of %d bytes", ext, end, len(b))
		}
	}
	_, err := readFile(t, whole[:1024+512])
	assert.ErrorContains(t, err, "the archive is torn: it ends too early (copy or make it again)", "between two entries")
}

func TestReadDamagedTar(t *testing.T) {
	b := compressed(t, ".gz", makeTar(t, file("a", strings.Repeat("a", 700))))
	b[len(b)-6] ^= 1
	_, err := readFile(t, b)
	assert.ErrorContains(t, err, "the archive is damaged: gzip: invalid checksum")
}

func TestReadTarWithALargeDictionary(t *testing.T) {
	b := compressed(t, ".xz", makeTar(t, file("a", "")))
	header := b[12:24] // of the first block, which package xz writes without sizes
	header[4] = 40     // 4 GiB
	binary.LittleEndian.PutUint32(header[8:], crc32.ChecksumIEEE(header[:8]))
	_, err := readFile(t, b)
	require.ErrorAs(t, err, new(*Error))
	assert.ErrorContains(t, err, "the archive needs 4095 MiB of memory to be uncompressed, and 128 are allowed (compress it")
}

func TestReadNoArchive(t *testing.T) {
	for content, want := range map[string]string{
		"":                                       "it is empty",
		"hello\n":                                "the archive is torn",
		strings.Repeat("text of no kind\n", 100): "it is not a tar archive",
		"hsqs" + strings.Repeat("x", 600):        "it is a squashfs",
		"QFI\xfb" + strings.Repeat("x", 99):      "it is a disk image of QEMU",
		"\x7fELF":                                "it is a program",
		strings.Repeat("\x00", 4096):             "it is not a tar archive: it begins with zeros",
	} {
		_, err := readFile(t, []byte(content))
		require.ErrorAs(t, err, new(*Error), "%.10q", content)
		assert.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, "source: ")
	}
	_, err := readPath(t, "/nonexistent/root.tar")
	assert.ErrorContains(t, err, "read /nonexistent/root.tar: it cannot be opened: no such file or directory (give a directory")
}

// sparseTar returns an archive with a file of 100 GB that takes up 1 KiB.
func sparseTar(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "huge"))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(100e9))
	require.NoError(t, f.Close())
	out := runTool(t, "tar", "-C", dir, "--sparse", "-cf", "-", "huge")
	require.Less(t, len(out), 1<<20)
	return out
}

func TestSparseFile(t *testing.T) {
	begin := time.Now()
	const want = `"huge" has 100.0 GB, and the whole may have 0.0 GB`
	b := sparseTar(t)
	for ext := range compressors {
		_, err := readFile(t, compressed(t, ext, b))
		require.ErrorAs(t, err, new(*Error))
		assert.ErrorContains(t, err, want)
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "huge"), nil, 0o600))
	require.NoError(t, os.Truncate(filepath.Join(dir, "huge"), 100e9))
	_, err := readPath(t, dir)
	require.ErrorAs(t, err, new(*Error))
	assert.ErrorContains(t, err, want)
	assert.Less(t, time.Since(begin), 30*time.Second)
}

// A bomb expands without end. Its headers count, too.
func TestExpansionIsBounded(t *testing.T) {
	r := &boundedReader{zeros{}, 1 << 20}
	_, err := io.Copy(io.Discard, r)
	require.ErrorAs(t, err, new(*Error))
	assert.ErrorContains(t, err, "larger than an import may be")
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestReadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "source")
	require.NoError(t, os.WriteFile(path, makeTar(t, file("a", "")), 0o600))
	for _, source := range []string{path, filepath.Dir(path)} {
		_, err := Read(ctx, source, Options{Dir: t.TempDir(), Max: testMax})
		assert.ErrorIs(t, err, context.Canceled)
	}
}

func TestReadDirectory(t *testing.T) {
	source := t.TempDir()
	for _, name := range []string{"etc", "proc/1", "usr/bin"} {
		require.NoError(t, os.MkdirAll(filepath.Join(source, name), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(source, "usr/bin/su"), []byte("su"), 0o755))
	require.NoError(t, os.Chmod(filepath.Join(source, "usr/bin/su"), 0o755|os.ModeSticky))
	require.NoError(t, os.Link(filepath.Join(source, "usr/bin/su"), filepath.Join(source, "usr/bin/sudo")))
	require.NoError(t, os.Symlink("/etc/shadow", filepath.Join(source, "etc/out")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(source, "etc/pipe"), 0o600))
	tree, err := readPath(t, source)
	require.NoError(t, err)
	assert.Equal(t, "directory", tree.Kind)
	assert.Equal(t, []string{"./etc/", "./etc/out -> /etc/shadow", "./etc/pipe", "./proc/", "./usr/", "./usr/bin/", "./usr/bin/su = su",
		"./usr/bin/sudo == ./usr/bin/su"}, listing(t, tree))
	su, _, err := tree.Lookup("usr/bin/su")
	require.NoError(t, err)
	assert.EqualValues(t, 0o1755, su.Mode)
	assert.Zero(t, su.Uid, "the owner of the directory is root in the tree")
}

func TestOwnersOfADirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		lack.Skip(t, "an ordinary user has no files of others: run it as root")
	}
	source := t.TempDir()
	for name, uid := range map[string]int{"a": 1000, "b": 1001, ".": 1000} {
		path := filepath.Join(source, name)
		if name != "." {
			require.NoError(t, os.WriteFile(path, nil, 0o644))
		}
		require.NoError(t, os.Chown(path, uid, uid))
	}
	tree, err := readPath(t, source)
	require.NoError(t, err)
	for name, uid := range map[string]int{"a": 0, "b": 1001} {
		n, _, err := tree.Lookup(name)
		require.NoError(t, err)
		assert.Equal(t, []int{uid, uid}, []int{n.Uid, n.Gid}, name)
	}
}

func runTool(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	require.NoError(t, err)
	return out
}
