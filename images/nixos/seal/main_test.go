package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
)

func TestSealedDirectoryIsImage(t *testing.T) {
	dir, tree := t.TempDir(), t.TempDir()
	lib := filepath.Join(tree, "lib/modules/6.18.1")
	require.NoError(t, os.MkdirAll(lib, 0o755))
	for path, content := range map[string]string{
		filepath.Join(dir, "vmlinuz"):         "kernel",
		filepath.Join(dir, "rootfs.squashfs"): "root",
		filepath.Join(lib, "modules.dep"):     "",
		filepath.Join(lib, "modules.builtin"): "virtio_pci.ko virtio_blk.ko virtio_console.ko virtio_rng.ko squashfs.ko overlay.ko\n",
	} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	manifest := `{"name":"nixos","distribution":"NixOS 26.05","arch":"` + runtime.GOARCH + `","systemdVersion":"259.3"}`
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	require.NoError(t, run([]string{dir, tree}, strings.NewReader(manifest)))

	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	require.NoError(t, err)
	var m images.Manifest
	require.NoError(t, json.Unmarshal(b, &m))
	assert.Equal(t, "NixOS 26.05", m.Distribution)
	assert.Equal(t, 259, m.SystemdMajor)
	assert.EqualValues(t, 1, m.Built.Unix())
	assert.NotEmpty(t, m.Seal)
}

func TestBadInput(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	assert.ErrorContains(t, run(nil, strings.NewReader("{}")), "want DIRECTORY")
	assert.ErrorContains(t, run([]string{"a", "b"}, strings.NewReader(`{"nmae":"nixos"}`)), "nmae")
	t.Setenv("SOURCE_DATE_EPOCH", "")
	assert.ErrorContains(t, run([]string{"a", "b"}, strings.NewReader("{}")), "SOURCE_DATE_EPOCH")
}
