package images

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// foreign returns a directory with kernel and root file system, and a tree of modules,
// as another tool would leave them.
func foreign(t *testing.T) (dir, tree string) {
	t.Helper()
	dir, tree = t.TempDir(), t.TempDir()
	lib := filepath.Join(tree, "lib/modules/6.18.1")
	for path, content := range map[string]string{
		filepath.Join(dir, kernelFile):              "kernel",
		filepath.Join(dir, rootFile):                "root",
		filepath.Join(lib, "modules.dep"):           "kernel/overlay.ko.xz: kernel/squashfs.ko.xz\nkernel/squashfs.ko.xz:\nkernel/sound.ko.xz:\n",
		filepath.Join(lib, "modules.builtin"):       "k/virtio_pci.ko k/virtio_blk.ko k/virtio_console.ko k/virtio-rng.ko\n",
		filepath.Join(lib, "kernel/overlay.ko.xz"):  xzOf(t, "overlay"),
		filepath.Join(lib, "kernel/squashfs.ko.xz"): xzOf(t, "squashfs"),
		filepath.Join(lib, "kernel/sound.ko.xz"):    xzOf(t, "sound"),
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return dir, tree
}

func foreignManifest() Manifest {
	return Manifest{
		Name: "nixos", Distribution: "NixOS 26.05", Suite: "26.05", Arch: runtime.GOARCH, SystemdVersion: "259.3",
		Packages: []Package{{"systemd", "259.3", runtime.GOARCH}, {"bash", "5.3", runtime.GOARCH}, {"bash", "5.3", runtime.GOARCH}},
		Units:    "/run/systemd/system", Bin: "/run/current-system/sw/bin",
		Built: time.Unix(1, 0).UTC(),
	}
}

func TestSeal(t *testing.T) {
	dir, tree := foreign(t)
	require.NoError(t, Seal(dir, foreignManifest(), tree))
	image, err := testCache(t).openPath(t.Context(), dir, &reporter{})
	require.NoError(t, err)
	assert.Equal(t, 259, image.SystemdMajor)
	assert.Equal(t, "6.18.1", image.KernelVersion)
	assert.Equal(t, []string{"squashfs", "overlay"}, image.Modules)
	assert.Len(t, image.Packages, 2)
	assert.Equal(t, "bash", image.Packages[0].Name)
	module, err := os.ReadFile(filepath.Join(image.ModulesDir(), "lib/modules/6.18.1/kernel/overlay.ko"))
	require.NoError(t, err)
	assert.Equal(t, "overlay", string(module))
	assert.Equal(t, "/run/systemd/system", image.UnitDir())
	assert.True(t, image.RuntimeUnits())
	assert.Equal(t, "/run/current-system/sw/bin", image.BinDir())
	assert.NoFileExists(t, filepath.Join(image.ModulesDir(), "lib/modules/6.18.1/kernel/sound.ko"))
}

func TestSealOfALink(t *testing.T) {
	dir, tree := foreign(t)
	link := filepath.Join(t.TempDir(), "result")
	require.NoError(t, os.Symlink(dir, link))
	require.NoError(t, Seal(link, foreignManifest(), tree))
	_, err := testCache(t).openPath(t.Context(), dir, &reporter{})
	require.NoError(t, err)
}

func TestSealIsReproducible(t *testing.T) {
	var manifests []string
	for range 2 {
		dir, tree := foreign(t)
		require.NoError(t, Seal(dir, foreignManifest(), tree))
		b, err := os.ReadFile(filepath.Join(dir, manifestFile))
		require.NoError(t, err)
		manifests = append(manifests, string(b))
	}
	assert.Equal(t, manifests[0], manifests[1])
}

func TestSealRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, dir, tree string, m *Manifest)
		want  string
	}{
		{"no name", func(_ *testing.T, _, _ string, m *Manifest) { m.Name = "" }, "name"},
		{"control characters", func(_ *testing.T, _, _ string, m *Manifest) { m.Suite = "26\x1b[2J" },
			`the manifest has control characters in "26\x1b[2J"`},
		{"two lines", func(_ *testing.T, _, _ string, m *Manifest) { m.Packages[0].Version = "259\nbuilt" },
			`the manifest has control characters in "259\nbuilt"`},
		{"no systemd", func(_ *testing.T, _, _ string, m *Manifest) { m.SystemdVersion = "" }, "read systemd version"},
		{"no root", func(t *testing.T, dir, _ string, _ *Manifest) {
			require.NoError(t, os.Remove(filepath.Join(dir, rootFile)))
		}, "rootfs.squashfs is missing"},
		{"two kernels", func(t *testing.T, _, tree string, _ *Manifest) {
			require.NoError(t, os.Mkdir(filepath.Join(tree, "lib/modules/7.0"), 0o755))
		}, "holds 2 kernels"},
		{"no overlay", func(t *testing.T, _, tree string, _ *Manifest) {
			require.NoError(t, os.WriteFile(filepath.Join(tree, "lib/modules/6.18.1/modules.dep"), []byte("kernel/squashfs.ko.xz:\n"), 0o644))
		}, "find kernel module overlay"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, tree := foreign(t)
			m := foreignManifest()
			tc.spoil(t, dir, tree, &m)
			assert.ErrorContains(t, Seal(dir, m, tree), tc.want)
			assert.NoFileExists(t, filepath.Join(dir, manifestFile))
		})
	}
}

// An image from before these fields keeps its seal.
func TestManifestLeavesOutUsualDirectories(t *testing.T) {
	b, err := json.Marshal(Manifest{})
	require.NoError(t, err)
	assert.NotContains(t, string(b), "unitDir")
	assert.NotContains(t, string(b), "binDir")
	assert.Equal(t, "/etc/systemd/system", Manifest{}.UnitDir())
	assert.Equal(t, "/bin", Manifest{}.BinDir())
	assert.False(t, Manifest{}.RuntimeUnits())
}
