package images

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dockerArchive returns an archive of docker save for a processor, with the layers.
func dockerArchive(t *testing.T, arch string, layers ...[]byte) []byte {
	t.Helper()
	var names, sums []string
	var entries []entry
	for _, layer := range layers {
		sum := sha256.Sum256(layer)
		id := hex.EncodeToString(sum[:])
		names, sums = append(names, id+"/layer.tar"), append(sums, "sha256:"+id)
		entries = append(entries, entry{name: id + "/layer.tar", content: string(layer)})
	}
	config, err := json.Marshal(map[string]any{"architecture": arch, "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": sums}})
	require.NoError(t, err)
	manifest, err := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": []string{"other:1"}, "Layers": names}})
	require.NoError(t, err)
	return makeTar(t, append(entries, entry{name: "config.json", content: string(config)}, entry{name: "manifest.json", content: string(manifest)}))
}

// What a layer's whiteouts name is not in the image, and the marks are not either.
func TestImportOfLayers(t *testing.T) {
	upper := makeTar(t, []entry{{name: "etc/.wh.fstab"}, {name: "var/lib/.wh..wh..opq"}, {name: "var/lib/new", content: "new"},
		{name: "usr/bin/cat", content: "another cat", mode: 0o755}})
	var notes []string
	image, err := Import(t.Context(), "other", writeSource(t, dockerArchive(t, runtime.GOARCH, makeTar(t, otherSystem(t)), upper)), notesOf(t.TempDir(), &notes))
	require.NoError(t, err)
	assert.Equal(t, "docker archive", image.Imported)
	assert.Empty(t, image.Packages, "the database was in /var/lib")
	list := strings.Join(listSquashfs(t, image.Root()), "\n")
	assert.NotContains(t, list, "etc/fstab")
	assert.NotContains(t, list, "pacman")
	assert.NotContains(t, list, ".wh.")
	assert.Contains(t, list, "var/lib/new")
	assert.Equal(t, "another cat", catSquashfs(t, image.Root(), "usr/bin/cat"))
}

func TestImportOfLayersForAnotherProcessor(t *testing.T) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	cacheDir := t.TempDir()
	_, err := Import(t.Context(), "other", writeSource(t, dockerArchive(t, other, makeTar(t, otherSystem(t)))), ImportOptions{Options: Options{Cache: cacheDir}})
	require.ErrorAs(t, err, new(*ImportError))
	assert.ErrorContains(t, err, "the image is for linux "+other+", and guests of this host need linux "+runtime.GOARCH)
	assertNothingKept(t, cacheDir)
}
