package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
		t.Skip("an ordinary user has no files of others: run it as root")
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

// image is a container image to be written in one of the layouts.
type image struct {
	arch   string
	layers [][]byte // uncompressed tar archives
	ext    string   // of their compression
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

func (i image) config(t testing.TB) []byte {
	var sums []string
	for _, layer := range i.layers {
		sums = append(sums, "sha256:"+sum(layer))
	}
	return marshal(t, map[string]any{"architecture": i.arch, "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": sums}})
}

// oci returns the files of an OCI layout that holds the images.
func oci(t testing.TB, images ...image) map[string][]byte {
	t.Helper()
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	blob := func(kind string, b []byte) map[string]any {
		files["blobs/sha256/"+sum(b)] = b
		return map[string]any{"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + sum(b), "size": len(b)}
	}
	var manifests []any
	for _, i := range images {
		var layers []any
		for _, layer := range i.layers {
			layers = append(layers, blob("layer.v1.tar", compressed(t, i.ext, layer)))
		}
		m := blob("manifest.v1+json", marshal(t, map[string]any{"schemaVersion": 2, "config": blob("config.v1+json", i.config(t)), "layers": layers}))
		m["platform"] = map[string]any{"os": "linux", "architecture": i.arch}
		manifests = append(manifests, m)
	}
	index := marshal(t, map[string]any{"schemaVersion": 2, "manifests": manifests})
	outer := blob("index.v1+json", index) // as buildx writes
	files["index.json"] = marshal(t, map[string]any{"schemaVersion": 2, "manifests": []any{outer}})
	return files
}

// docker returns the files of an archive of docker save before version 25.
func (i image) docker(t testing.TB) []entry {
	t.Helper()
	entries := []entry{file("c.json", string(i.config(t)))}
	var names []string
	for n, layer := range i.layers {
		entries = append(entries, file(fmt.Sprintf("%d/real.tar", n), string(layer)), symlink(fmt.Sprintf("%d/layer.tar", n), fmt.Sprintf("../%d/real.tar", n)))
		names = append(names, fmt.Sprintf("%d/layer.tar", n))
	}
	return append(entries, file("manifest.json", string(marshal(t, []any{map[string]any{"Config": "c.json", "RepoTags": []string{"a:1"}, "Layers": names}}))))
}

func asEntries(files map[string][]byte) []entry {
	var list []entry
	for name, b := range files {
		list = append(list, file(name, string(b)))
	}
	return list
}

func writeDir(t testing.TB, files map[string][]byte) string {
	t.Helper()
	root := t.TempDir()
	for name, b := range files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, b, 0o644))
	}
	return root
}

func twoLayers(t testing.TB) image {
	return image{arch: "amd64", layers: [][]byte{
		makeTar(t, dir("etc"), file("etc/a", "1"), file("etc/b", "1")),
		makeTar(t, file("etc/.wh.a", ""), file("etc/b", "2")),
	}}
}

func TestReadContainers(t *testing.T) {
	want := []string{"./etc/", "./etc/b = 2"}
	other := twoLayers(t)
	other.arch = "arm64"
	for ext := range compressors {
		i := twoLayers(t)
		i.ext = ext
		files := oci(t, other, i)
		tree, err := readPath(t, writeDir(t, files))
		require.NoError(t, err, ext)
		assert.Equal(t, "OCI layout", tree.Kind)
		assert.Equal(t, want, listing(t, tree))
		tree, err = readFile(t, compressed(t, ext, makeTar(t, asEntries(files)...)))
		require.NoError(t, err, ext)
		assert.Equal(t, want, listing(t, tree))
		tree, err = readFile(t, compressed(t, ext, makeTar(t, i.docker(t)...)))
		require.NoError(t, err, ext)
		assert.Equal(t, "docker archive", tree.Kind)
		assert.Equal(t, want, listing(t, tree))
	}
}

func TestReadBadContainers(t *testing.T) {
	other := twoLayers(t)
	other.arch = "arm64"
	second := image{arch: "amd64", layers: [][]byte{makeTar(t, file("x", ""))}}
	layer := "blobs/sha256/" + sum(twoLayers(t).layers[1])
	for name, tc := range map[string]struct {
		images []image
		spoil  func(files map[string][]byte)
		want   string
	}{
		"another architecture":   {[]image{other}, nil, "the image is for arm64, and guests of this host need linux amd64"},
		"two images":             {[]image{twoLayers(t), second}, nil, "it holds 2 images instead of one"},
		"no image":               {nil, nil, "no architecture"},
		"a layer is missing":     {[]image{twoLayers(t)}, func(f map[string][]byte) { delete(f, layer) }, "it lacks a layer"},
		"a layer is torn":        {[]image{twoLayers(t)}, func(f map[string][]byte) { f[layer] = f[layer][:512] }, "is damaged: its sum is"},
		"a layer is another one": {[]image{twoLayers(t)}, func(f map[string][]byte) { f[layer] = makeTar(t, file("etc/evil", "")) }, "is damaged: its sum is"},
		"a manifest is altered": {[]image{twoLayers(t)}, func(f map[string][]byte) {
			for name, b := range f {
				if strings.HasPrefix(name, "blobs/") && bytes.Contains(b, []byte("schemaVersion")) {
					f[name] = append(b, ' ')
				}
			}
		}, "its content has another sum"},
		"no JSON":         {[]image{twoLayers(t)}, func(f map[string][]byte) { f["index.json"] = []byte("{") }, "the index.json of the image cannot be read"},
		"a huge manifest": {[]image{twoLayers(t)}, func(f map[string][]byte) { f["index.json"] = make([]byte, maxJSON+1) }, "more than any manifest"},
		"no index":        {[]image{twoLayers(t)}, func(f map[string][]byte) { f["manifest.json"] = []byte("[]"); delete(f, "oci-layout") }, "it holds 0 images"},
	} {
		t.Run(name, func(t *testing.T) {
			files := oci(t, tc.images...)
			if tc.spoil != nil {
				tc.spoil(files)
			}
			_, err := readPath(t, writeDir(t, files))
			require.ErrorAs(t, err, new(*Error))
			assert.ErrorContains(t, err, tc.want)
		})
	}
}

// A name in a container's manifest leads to no file of the host.
func TestContainerOutOfItsStore(t *testing.T) {
	for _, name := range []string{"../../../../../../../../etc/passwd", "/etc/passwd"} {
		m := marshal(t, []any{map[string]any{"Config": name, "Layers": []string{name}}})
		_, err := readFile(t, makeTar(t, file("manifest.json", string(m))))
		assert.ErrorContains(t, err, "the image is not whole")
		_, err = readPath(t, writeDir(t, map[string][]byte{"manifest.json": m}))
		assert.ErrorContains(t, err, "the image is not whole")
	}
}

// An archive is an error, or a tree whose paths are all in it.
func FuzzRead(f *testing.F) {
	f.Add(makeTar(f, dir("usr"), symlink("bin", "usr"), file("bin/x", "1"), hardlink("y", "bin/x"), file("usr/.wh.x", "")))
	f.Add(makeTar(f, symlink("a", "/b"), symlink("b", "../a"), file("a/../x", "1")))
	f.Add(makeTar(f, twoLayers(f).docker(f)...))
	f.Add(makeTar(f, asEntries(oci(f, twoLayers(f)))...))
	f.Add(compressed(f, ".zst", makeTar(f, file("a", "b"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, isLayer := range []bool{false, true} {
			tree, err := New(t.TempDir(), testMax)
			require.NoError(t, err)
			defer tree.Close()
			if tree.addCompressed(t.Context(), reader(b), isLayer, nil) != nil {
				continue
			}
			if isContainer(tree) {
				if inner, err := readContainer(t.Context(), tree, Options{Dir: t.TempDir(), Max: testMax, Arch: "amd64"}); err == nil {
					inner.Close()
				}
			}
			var out bytes.Buffer
			if tree.WriteTar(t.Context(), &out) != nil {
				continue
			}
			seen := map[string]bool{}
			for r := tar.NewReader(&out); ; {
				hdr, err := r.Next()
				if err == io.EOF {
					break
				}
				require.NoError(t, err)
				name := strings.TrimSuffix(hdr.Name, "/")
				assert.True(t, filepath.IsLocal(name) && name != "./", "%q", hdr.Name)
				assert.False(t, seen[name], "%q twice", hdr.Name)
				seen[name] = true
				if hdr.Typeflag == tar.TypeLink {
					assert.True(t, seen[hdr.Linkname], "%q links to %q", name, hdr.Linkname)
				}
			}
		}
	})
}

func runTool(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	require.NoError(t, err)
	return out
}
