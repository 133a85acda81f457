package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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

// An index may name the same index many times, and so may that one.
func TestIndexesAreBounded(t *testing.T) {
	files := oci(t)
	index := marshal(t, map[string]any{"schemaVersion": 2, "manifests": []any{}})
	for range maxIndexes + 1 {
		files["blobs/sha256/"+sum(index)] = index
		entry := map[string]any{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:" + sum(index), "size": len(index)}
		index = marshal(t, map[string]any{"schemaVersion": 2, "manifests": slices.Repeat([]any{entry}, maxDescriptors-1)})
	}
	files["index.json"] = index
	source := writeDir(t, files)
	_, err := readPath(t, source)
	require.ErrorAs(t, err, new(*Error))
	assert.ErrorContains(t, err, "its indexes have more than 1000 entries")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root, err := os.OpenRoot(source)
	require.NoError(t, err)
	defer root.Close()
	_, err = findOCI(ctx, dirStore{root}, "amd64")
	require.ErrorIs(t, err, context.Canceled)
}
