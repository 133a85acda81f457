package images

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClosure(t *testing.T) {
	// As depmod writes it: the dependencies of dependencies are listed too.
	const dep = `kernel/drivers/virtio/virtio_pci.ko.xz: kernel/virtio_ring.ko.xz kernel/virtio.ko.xz kernel/virtio_pci_modern_dev.ko.xz
kernel/virtio_pci_modern_dev.ko.xz:
kernel/virtio_ring.ko.xz: kernel/virtio.ko.xz
kernel/virtio.ko.xz:
kernel/drivers/char/hw_random/virtio-rng.ko.xz: kernel/virtio_ring.ko.xz kernel/virtio.ko.xz
kernel/fs/xfs.ko.xz:
`
	order, err := closure(dep, "kernel/fs/overlay.ko\n", []string{"virtio_rng", "overlay", "virtio_pci"})
	require.NoError(t, err)
	assert.Equal(t, []string{
		"kernel/virtio.ko.xz",
		"kernel/virtio_ring.ko.xz",
		"kernel/drivers/char/hw_random/virtio-rng.ko.xz",
		"kernel/virtio_pci_modern_dev.ko.xz",
		"kernel/drivers/virtio/virtio_pci.ko.xz",
	}, order)

	_, err = closure(dep, "", []string{"overlay"})
	require.ErrorContains(t, err, "find kernel module overlay")
}

func TestDecompressUnknown(t *testing.T) {
	_, err := decompress("a.ko.zst", []byte("x"))
	require.ErrorContains(t, err, "unknown compression .zst")
	_, err = decompress("a.ko.xz", []byte("not xz"))
	require.Error(t, err)
	_, err = decompress("a.ko", nil)
	require.ErrorContains(t, err, "lacks it")
}
