package images

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const foreignKernel = "6.9.1-arch1-1"

// programFor returns what looks like systemd's program for a processor.
func programFor(arch string) string {
	machine := map[string]byte{"amd64": 62, "arm64": 183}[arch]
	return "\x7fELF\x02\x01" + strings.Repeat("\x00", 12) + string([]byte{machine, 0}) +
		"\x00systemd 257.7-1.fc42 running in %ssystem mode (%s)\x00libsystemd-core-257.7-1.fc42.so\x00"
}

func zstdOf(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	require.NoError(t, err)
	_, err = io.WriteString(w, s)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

// otherSystem is the root file system of a distribution that is not Debian, with a kernel.
func otherSystem(t testing.TB) []entry {
	lib := "usr/lib/modules/" + foreignKernel + "/"
	return []entry{
		{name: "", kind: tar.TypeDir},
		{name: "lib", kind: tar.TypeSymlink, link: "usr/lib"},
		{name: "sbin", kind: tar.TypeSymlink, link: "usr/bin"},
		{name: "usr/lib/systemd/systemd", content: programFor(runtime.GOARCH), mode: 0o755},
		{name: "usr/bin/init", kind: tar.TypeSymlink, link: "../lib/systemd/systemd"},
		{name: "usr/lib/systemd/system/default.target", kind: tar.TypeSymlink, link: "graphical.target"},
		{name: ".dockerenv"},
		{name: "usr/bin/cat", content: "cat", mode: 0o755},
		{name: "usr/bin/su", content: "su", mode: 0o4755},
		{name: "usr/bin/ss", content: "ss", mode: 0o755},
		{name: "usr/bin/systemctl", content: "systemctl", mode: 0o755},
		{name: "etc/os-release", content: "NAME=\"Other Linux\"\nBUILD_ID=rolling\n"},
		{name: "etc/machine-id", content: "0123456789abcdef"},
		{name: "etc/fstab", content: "# disks\nUUID=1 / ext4 defaults 0 1\ntmpfs /scratch tmpfs\n/dev/sdb1 none swap sw\nserver:/home /home nfs\n"},
		{name: "dev/console", kind: tar.TypeChar},
		{name: "run/utmp", content: "state"},
		{name: "var/lib/pacman/local/ALPM_DB_VERSION", content: "9\n"},
		{name: "var/lib/pacman/local/systemd-257.7-1/desc", content: "%NAME%\nsystemd\n\n%VERSION%\n257.7-1\n\n%ARCH%\nx86_64\n"},
		{name: lib + "vmlinuz", content: "a kernel"},
		{name: lib + "modules.builtin", content: "kernel/virtio_pci.ko\nkernel/virtio_console.ko\nkernel/virtio-rng.ko\nkernel/squashfs.ko\n"},
		{name: lib + "modules.dep", content: "kernel/overlay.ko.zst:\nkernel/virtio_blk.ko.zst:\nkernel/pvpanic.ko.zst:\nkernel/pvpanic-mmio.ko.zst: kernel/pvpanic.ko.zst\nkernel/sound.ko.zst:\n"},
		{name: lib + "kernel/overlay.ko.zst", content: zstdOf(t, "overlay module")},
		{name: lib + "kernel/virtio_blk.ko.zst", content: zstdOf(t, "blk module")},
		{name: lib + "kernel/pvpanic.ko.zst", content: zstdOf(t, "pvpanic module")},
		{name: lib + "kernel/pvpanic-mmio.ko.zst", content: zstdOf(t, "mmio module")},
	}
}

// without returns entries except for those of the given names.
func without(entries []entry, names ...string) []entry {
	return slices.DeleteFunc(entries, func(e entry) bool { return slices.Contains(names, e.name) })
}

func writeSource(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.tar")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// notesOf returns options for a cache, which collect notices.
func notesOf(cacheDir string, notes *[]string) ImportOptions {
	return ImportOptions{Options: Options{Cache: cacheDir, Progress: func(p Progress) {
		if p.Notice {
			*notes = append(*notes, p.Text)
		}
	}}}
}

func TestImport(t *testing.T) {
	cacheDir := t.TempDir()
	source := writeSource(t, makeTar(t, otherSystem(t)))
	var notes []string
	o := notesOf(cacheDir, &notes)
	image, err := Import(t.Context(), "other.1", source, o)
	require.NoError(t, err)
	assert.Equal(t, "tar archive", image.Imported)
	assert.Equal(t, "Other Linux", image.Distribution)
	assert.Equal(t, "rolling", image.Suite)
	assert.Equal(t, "257.7-1.fc42", image.SystemdVersion)
	assert.Equal(t, 257, image.SystemdMajor)
	assert.Equal(t, foreignKernel, image.KernelVersion)
	assert.Equal(t, []string{"virtio_blk", "overlay", "pvpanic", "pvpanic_mmio"}, image.Modules)
	assert.Equal(t, []Package{{"systemd", "257.7-1", "x86_64"}}, image.Packages)
	assert.Equal(t, "/etc/systemd/system", image.UnitDir())
	assert.Equal(t, "/usr/bin", image.BinDir(), "there is no /bin")
	assert.Equal(t, []string{"dbus", "journalctl", "nc", "readlink", "sh", "systemd-analyze", "udevadm"}, image.Lacks)
	assert.Equal(t, "the guest boots its own kernel "+foreignKernel, notes[0])
	assert.Equal(t, "commented out in /etc/fstab, because the guest has no such file systems: /, swap, /home", notes[1])
	assert.Contains(t, notes, "the guest lacks nc: no client for sockets; Dial works")
	assert.Len(t, notes, 2+len(image.Lacks))

	kernel, err := os.ReadFile(image.Kernel())
	require.NoError(t, err)
	assert.Equal(t, "a kernel", string(kernel))
	module, err := os.ReadFile(filepath.Join(image.ModulesDir(), "lib/modules", foreignKernel, "kernel/overlay.ko"))
	require.NoError(t, err)
	assert.Equal(t, "overlay module", string(module))

	list := listSquashfs(t, image.Root())
	assert.Contains(t, list, "-rwsr-xr-x 7/0 usr/bin/su")
	for _, dir := range []string{"dev", "proc", "run", "sys", "etc/systemd/system"} {
		assert.Contains(t, list, "drwxr-xr-x 0/0 "+dir)
	}
	assert.NotContains(t, strings.Join(list, "\n"), "run/utmp")
	assert.NotContains(t, strings.Join(list, "\n"), "dev/console")
	assert.NotContains(t, strings.Join(list, "\n"), ".dockerenv")
	assert.Empty(t, catSquashfs(t, image.Root(), "etc/machine-id"))
	assert.Equal(t, "# disks\n# not in a test guest: UUID=1 / ext4 defaults 0 1\ntmpfs /scratch tmpfs\n"+
		"# not in a test guest: /dev/sdb1 none swap sw\n# not in a test guest: server:/home /home nfs\n", catSquashfs(t, image.Root(), "etc/fstab"))
}

// listSquashfs returns the mode, owner and path of what a squashfs holds.
func listSquashfs(t testing.TB, root string) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(runTool(t, "unsquashfs", "-lln", root)) {
		if f := strings.Fields(line); len(f) >= 6 {
			list = append(list, f[0]+" "+f[1]+" "+strings.TrimPrefix(f[5], "squashfs-root/"))
		}
	}
	return list
}

func catSquashfs(t testing.TB, root, name string) string {
	t.Helper()
	return runTool(t, "unsquashfs", "-cat", root, name)
}

func runTool(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	require.NoError(t, err, "%s %q", name, args)
	return string(out)
}

// An imported image is opened, listed and removed like others.
func TestImportedImageInTheCache(t *testing.T) {
	cacheDir := t.TempDir()
	var notes []string
	o := notesOf(cacheDir, &notes)
	require.ErrorAs(t, Known("other", o.Options), new(*UnknownImageError))
	_, err := Open(t.Context(), named("other"), o.Options)
	require.ErrorAs(t, err, new(*UnknownImageError))
	assert.NoDirExists(t, filepath.Join(cacheDir, imagesDir), "a question makes no cache")

	source := writeSource(t, makeTar(t, otherSystem(t)))
	first, err := Import(t.Context(), "other", source, o)
	require.NoError(t, err)
	require.NoError(t, Known("other", o.Options))
	opened, err := Open(t.Context(), named("other"), o.Options)
	require.NoError(t, err)
	assert.Equal(t, first, opened)
	list, err := List(o.Options)
	require.NoError(t, err)
	assert.Equal(t, []Manifest{first.Manifest}, list)
	again, err := Import(t.Context(), "other", source, o)
	require.NoError(t, err)
	assert.Equal(t, first.Digest, again.Digest, "of equal sources")
	require.ErrorIs(t, first.Check(), ErrReplaced)
	_, err = Build(t.Context(), named("other"), o.Options)
	require.ErrorAs(t, err, new(*SpecError), "there is nothing to build it from")
	assert.EqualError(t, err, "build image other: it was imported: import it again")
	_, err = Build(t.Context(), named("another"), o.Options)
	require.ErrorAs(t, err, new(*UnknownImageError))

	require.NoError(t, os.Truncate(again.Root(), 3))
	_, err = Open(t.Context(), named("other"), o.Options)
	var lacks *HostError
	require.ErrorAs(t, err, &lacks)
	assert.Contains(t, lacks.Error(), "cannot use the image other: rootfs.squashfs has 3 bytes instead of")
	assert.Contains(t, lacks.Error(), "(import it again)")
	require.NoError(t, Remove(t.Context(), "other", o.Options))
	require.ErrorAs(t, Known("other", o.Options), new(*UnknownImageError))
	assertNothingKept(t, cacheDir)
}

func TestImportNames(t *testing.T) {
	for _, name := range []string{Default, "", ".", "..", ".hidden", "-x", "a/b", "a b", "a\n", "path-x", "x.lock", "x.stamp", "x.stamp.new", strings.Repeat("x", 65)} {
		_, err := Import(t.Context(), name, "/nonexistent", ImportOptions{Options: Options{Cache: t.TempDir()}})
		assert.ErrorContains(t, err, "import image: ", "%q", name)
	}
	_, err := Import(t.Context(), "x", "/nonexistent", ImportOptions{Options: Options{Cache: t.TempDir()}, Kernel: "debian-1"})
	assert.ErrorAs(t, err, new(*UnknownImageError))
}
