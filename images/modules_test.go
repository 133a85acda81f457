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

func TestSystemdVersion(t *testing.T) {
	for _, tc := range []struct {
		version string
		major   int
	}{
		{"247.3-7+deb11u7", 247}, {"257.8-1~deb13u2", 257}, {"262~rc1-1", 262}, {"1:300-1", 300},
	} {
		version, major, err := systemdVersion([]Package{{"dbus", "1", "amd64"}, {"systemd", tc.version, "amd64"}})
		require.NoError(t, err)
		assert.Equal(t, tc.version, version)
		assert.Equal(t, tc.major, major)
	}
	_, _, err := systemdVersion([]Package{{"dbus", "1", "amd64"}})
	require.Error(t, err)
	_, _, err = systemdVersion([]Package{{"systemd", "devel", "amd64"}})
	require.Error(t, err)
}
