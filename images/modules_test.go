package images

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/kmod"
)

// builtins are all modules that an initrd needs, but for one.
const builtins = "kernel/virtio_blk.ko kernel/virtio_console.ko kernel/virtio-rng.ko kernel/squashfs.ko kernel/overlay.ko "

func TestNeededFiles(t *testing.T) {
	files, err := neededFiles(kmod.ParseIndex("kernel/virtio_pci.ko: kernel/virtio.ko\nkernel/virtio.ko:\n", builtins))
	require.NoError(t, err)
	assert.Equal(t, []string{"kernel/virtio.ko", "kernel/virtio_pci.ko"}, files)
	_, err = neededFiles(kmod.ParseIndex("", builtins))
	assert.ErrorContains(t, err, "find kernel module virtio_pci")
	_, err = neededFiles(kmod.ParseIndex("../../etc/virtio_pci.ko:\n", builtins))
	assert.ErrorContains(t, err, "leads out of the modules")
}

func TestDecompressUnknown(t *testing.T) {
	_, err := decompress("a.ko.zst", []byte("x"))
	require.ErrorContains(t, err, "unknown compression .zst")
	_, err = decompress("a.ko.xz", []byte("not xz"))
	require.Error(t, err)
	_, err = decompress("a.ko", nil)
	require.ErrorContains(t, err, "lacks it")
}
