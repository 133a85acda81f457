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

func TestWriteModulesRefuses(t *testing.T) {
	const missing = "the guest's tree lacks it: file does not exist"
	for _, tc := range []struct {
		name, content, want string // of virtio_pci
		gone                bool
	}{
		{name: "virtio_pci.ko.zst", content: "x", want: "read kernel module virtio_pci.ko.zst: decompress virtio_pci.ko.zst: not in the format of zstd"},
		{name: "virtio_pci.ko.xz", content: "not xz", want: "read kernel module virtio_pci.ko.xz: decompress virtio_pci.ko.xz: "},
		{name: "virtio_pci.ko", gone: true, want: "read kernel module virtio_pci.ko: " + missing},
	} {
		m := moduleFiles{dir: t.TempDir()}
		defer m.close()
		require.NoError(t, m.add("6.1/modules.dep", []byte(tc.name+":\n")))
		require.NoError(t, m.add("6.1/modules.builtin", []byte(builtins)))
		if !tc.gone {
			require.NoError(t, m.add("6.1/"+tc.name, []byte(tc.content)))
		}
		_, err := writeModules(t.TempDir(), "6.1", func(name string) ([]byte, error) { return m.read("6.1", name) })
		assert.ErrorContains(t, err, tc.want)
	}
	var none moduleFiles
	_, err := writeModules(t.TempDir(), "6.1", func(name string) ([]byte, error) { return none.read("6.1", name) })
	assert.EqualError(t, err, "read modules.dep: "+missing)
}
