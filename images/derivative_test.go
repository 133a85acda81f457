package images

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ubuntuTree is laid out as mmdebstrap's tree of Ubuntu 24.04: another kernel, with modules
// of zstd, links to it in /boot, and versions of packages as Ubuntu has them.
func ubuntuTree(t *testing.T) []entry {
	const version = "6.8.0-31-generic"
	lib := "usr/lib/modules/" + version + "/"
	return []entry{
		{name: "", kind: tar.TypeDir},
		{name: "boot/", kind: tar.TypeDir},
		{name: "boot/config-" + version, content: "CONFIG_X86=y"},
		{name: "boot/vmlinuz", kind: tar.TypeSymlink, link: "vmlinuz-" + version},
		{name: "boot/vmlinuz-" + version, content: "the kernel"},
		{name: "boot/vmlinuz.old", kind: tar.TypeSymlink, link: "vmlinuz-" + version},
		{name: lib + "kernel/squashfs.ko.zst", content: zstdOf(t, "squashfs module")},
		{name: lib + "kernel/virtio-rng.ko.zst", content: zstdOf(t, "rng module")},
		{name: lib + "modules.builtin", content: "kernel/virtio_pci.ko\nkernel/virtio_blk.ko\nkernel/virtio_console.ko\nkernel/overlay.ko\n"},
		{name: lib + "modules.dep", content: "kernel/squashfs.ko.zst:\nkernel/virtio-rng.ko.zst:\n"},
		{name: "usr/lib/os-release", content: "PRETTY_NAME=\"Ubuntu 24.04 LTS\"\nID=ubuntu\nID_LIKE=debian\n"},
		{name: "var/lib/dpkg/status", content: "Package: systemd\nStatus: install ok installed\nArchitecture: amd64\nVersion: 255.4-1ubuntu8\n"},
	}
}

// A recipe of a derivative makes a call of mmdebstrap that takes all from its archive, and a
// manifest that has the derivative's names.
func TestDerivative(t *testing.T) {
	keyring := filepath.Join(t.TempDir(), "ubuntu.gpg")
	require.NoError(t, os.WriteFile(keyring, []byte("key"), 0o600))
	s := Spec{Packages: []string{"rpcbind"}, Recipe: &Recipe{
		Name: "ubuntu-24.04", Suite: "noble", Components: []string{"main", "universe"},
		Mirror: "http://archive.example.org/ubuntu", Keyring: keyring, Kernel: "linux-image-virtual",
	}}
	t.Setenv("VMTEST_MIRROR", "http://mirror.example.org/debian")
	b, err := newBuilder(mustComplete(t, s), Options{}, cache{})
	require.NoError(t, err)
	args := b.mmdebstrapArgs("/scratch")
	assert.Equal(t, []string{
		"--mode=unshare", "--variant=essential", "--format=tar", "--verbose",
		"--include=systemd,systemd-sysv,dbus,udev,kmod,iproute2,netcat-openbsd,netbase,libseccomp2,linux-image-virtual,rpcbind",
		"--components=main,universe", "--keyring=/scratch/key0.gpg", b.simulateHook(),
		"noble", "-", "http://archive.example.org/ubuntu",
	}, args)
	assert.NotContains(t, strings.Join(args, "\n"), "debian")
	assert.Contains(t, b.simulateHook(), "?codename(^noble$)")

	dir := t.TempDir()
	root, err := os.Create(filepath.Join(dir, rootFile))
	require.NoError(t, err)
	defer root.Close()
	tree, err := filterTree(bytes.NewReader(makeTar(t, ubuntuTree(t))), root, dir, epoch)
	require.NoError(t, err)
	defer tree.modules.close()
	require.NoError(t, b.finish(t.Context(), dir, tree))
	m, err := readManifest(dir)
	require.NoError(t, err)
	assert.Equal(t, "ubuntu-24.04 with rpcbind", m.Title())
	assert.Equal(t, []string{"ubuntu-24.04", "noble", "Ubuntu 24.04 LTS", runtime.GOARCH, "255.4-1ubuntu8", "6.8.0-31-generic"},
		[]string{m.Base, m.Suite, m.Distribution, m.Arch, m.SystemdVersion, m.KernelVersion})
	assert.Equal(t, 255, m.SystemdMajor)
	assert.Equal(t, []string{"virtio_rng", "squashfs"}, m.Modules)
	text, err := os.ReadFile(root.Name())
	require.NoError(t, err)
	for name := range readTar(t, text) {
		assert.NotContains(t, name, "vmlinuz", "QEMU has it from the host")
	}
}
