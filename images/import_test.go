package images

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/rootfs"
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
	require.ErrorAs(t, err, new(*UnknownImageError), "there is nothing to build it from")

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

// A bad source is an error with the cause and the cure, and nothing is kept of it.
func TestImportOfABadSource(t *testing.T) {
	otherArch := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	system := otherSystem(t)
	with := func(more ...entry) []byte { return makeTar(t, append(slices.Clone(system), more...)) }
	whole := with()
	for name, tc := range map[string]struct {
		source []byte
		want   string
	}{
		"no systemd": {makeTar(t, without(otherSystem(t), "usr/lib/systemd/systemd")),
			"it has no systemd: looked at /usr/lib/systemd/systemd and /lib/systemd/systemd (install it there"},
		"a directory above": {makeTar(t, []entry{{name: "root.x86_64/usr/lib/systemd/systemd", content: programFor(runtime.GOARCH), mode: 0o755}}),
			`(there is one below "root.x86_64": import that directory`},
		"no init":          {makeTar(t, without(otherSystem(t), "usr/bin/init")), "it has no /sbin/init (link it to systemd's program"},
		"another init":     {with(entry{name: "usr/bin/init", kind: tar.TypeSymlink, link: "su"}), "its /sbin/init is /usr/bin/su and not systemd"},
		"no program":       {with(entry{name: "usr/bin/init", content: "text"}), "its /sbin/init is not a program"},
		"init in a circle": {with(entry{name: "usr/bin/init", kind: tar.TypeSymlink, link: "init"}), "its /sbin/init cannot be followed: "},
		"another architecture": {with(entry{name: "usr/lib/systemd/systemd", content: programFor(otherArch), mode: 0o755}),
			"it is for " + otherArch + ", and guests of this host are for " + runtime.GOARCH},
		"an unknown processor": {with(entry{name: "usr/lib/systemd/systemd", content: "\x7fELF" + strings.Repeat("\x01", 30), mode: 0o755}),
			"it is for another processor (ELF machine 257)"},
		"a script as systemd": {with(entry{name: "usr/lib/systemd/systemd", content: "#!/bin/sh\n", mode: 0o755}), "/usr/lib/systemd/systemd is not a program"},
		"no version": {with(entry{name: "usr/lib/systemd/systemd", content: programFor(runtime.GOARCH)[:21], mode: 0o755}),
			"the version of /usr/lib/systemd/systemd is not known"},
		"a path out":                   {with(entry{name: "../../../etc/passwd", content: "x"}), `bad entry "./../../../etc/passwd": the path leads out of the tree`},
		"a hard link out":              {with(entry{name: "shadow", kind: tar.TypeLink, link: "../../etc/shadow"}), "the path leads out of the tree"},
		"an absolute hard link":        {with(entry{name: "shadow", kind: tar.TypeLink, link: "/etc/shadow"}), "file does not exist"},
		"a hard link through a link":   {with(entry{name: "host", kind: tar.TypeSymlink, link: "/"}, entry{name: "shadow", kind: tar.TypeLink, link: "host/etc/shadow"}), "file does not exist"},
		"torn":                         {whole[:len(whole)/2], "the archive is torn: it ends too early (copy or make it again)"},
		"torn, compressed":             {[]byte(zstdOf(t, string(whole)))[:300], "the archive is torn"},
		"no archive":                   {[]byte(strings.Repeat("some text\n", 100)), "it is not a tar archive (give a directory, a tar archive"},
		"empty":                        {nil, "it is empty"},
		"100 GB of zeros in 10 KiB":    {[]byte(sparseTar(t)), `"huge" has 100.0 GB, and the whole may have 16.0 GB`},
		"a name that cannot be a path": {with(entry{name: strings.Repeat("x", 300)}), "a name of more than 255 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			cacheDir, temp := t.TempDir(), t.TempDir()
			t.Setenv("TMPDIR", temp)
			source := filepath.Join(t.TempDir(), "root.tar")
			require.NoError(t, os.WriteFile(source, tc.source, 0o600))
			begin := time.Now()
			_, err := Import(t.Context(), "bad", source, ImportOptions{Options: Options{Cache: cacheDir}})
			assert.Less(t, time.Since(begin), 20*time.Second)
			var bad *ImportError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, source, bad.Source)
			assert.ErrorContains(t, err, "read "+source+": ")
			assert.ErrorContains(t, err, tc.want)
			assertOneLine(t, err.Error())
			assertNothingKept(t, cacheDir)
			for _, dir := range []string{temp, filepath.Dir(source)} {
				left, err := os.ReadDir(dir)
				require.NoError(t, err)
				assert.Len(t, slices.DeleteFunc(left, func(e os.DirEntry) bool { return e.Name() == "root.tar" }), 0, "files outside of the cache")
			}
		})
	}
}

func assertNothingKept(t *testing.T, cacheDir string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(cacheDir, imagesDir))
	require.NoError(t, err)
	assert.Empty(t, left, "files in the cache")
}

func sparseTar(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "huge"), nil, 0o600))
	require.NoError(t, os.Truncate(filepath.Join(dir, "huge"), 100e9))
	return runTool(t, "tar", "-C", dir, "--sparse", "-cf", "-", "huge")
}

// An import that fails leaves the image of the last one.
func TestFailedImportKeepsTheLast(t *testing.T) {
	cacheDir := t.TempDir()
	o := ImportOptions{Options: Options{Cache: cacheDir}}
	first, err := Import(t.Context(), "other", writeSource(t, makeTar(t, otherSystem(t))), o)
	require.NoError(t, err)
	_, err = Import(t.Context(), "other", writeSource(t, []byte("text")), o)
	require.ErrorAs(t, err, new(*ImportError))
	opened, err := Open(t.Context(), named("other"), o.Options)
	require.NoError(t, err)
	assert.Equal(t, first.Digest, opened.Digest)
}

// An import that is interrupted keeps nothing, whether it reads or packs.
func TestImportInterrupted(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	whole := makeTar(t, otherSystem(t))
	go func() {
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err == nil {
			_, _ = w.Write(whole[:len(whole)/2])
			<-t.Context().Done() // the rest never comes
			_ = w.Close()
		}
	}()
	for stage, source := range map[Stage]string{Reading: pipe, Packing: writeSource(t, whole)} {
		cacheDir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Import(ctx, "other", source, ImportOptions{Options: Options{Cache: cacheDir, Progress: func(p Progress) {
			if p.Stage == stage && !p.Notice {
				time.AfterFunc(100*time.Millisecond, cancel)
				if stage == Packing {
					cancel()
				}
			}
		}}})
		cancel()
		require.ErrorIs(t, err, context.Canceled, stage)
		assertNothingKept(t, cacheDir)
	}
}

// A source without a kernel, or with one that lacks a driver, gets that of a Debian image
// with its modules.
func TestImportBorrowsAKernel(t *testing.T) {
	cacheDir := t.TempDir()
	fillDefault(t, cacheDir)
	lib := "usr/lib/modules/" + foreignKernel + "/"
	for name, tc := range map[string]struct {
		without []string
		want    string
	}{
		"no kernel":  {[]string{lib + "vmlinuz"}, "kernel " + foreignKernel + ": no image in /boot or its modules"},
		"no index":   {[]string{lib + "modules.dep"}, "kernel " + foreignKernel + ": find lib/modules/" + foreignKernel + "/modules.dep: file does not exist; depmod makes it"},
		"no driver":  {[]string{lib + "modules.builtin"}, "kernel " + foreignKernel + ": find lib/modules/" + foreignKernel + "/modules.builtin: file does not exist"},
		"no module":  {[]string{lib + "kernel/overlay.ko.zst"}, "kernel " + foreignKernel + ": the file of the module overlay is missing"},
		"no modules": {[]string{"lib"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var notes []string
			image, err := Import(t.Context(), "other", writeSource(t, makeTar(t, without(otherSystem(t), tc.without...))), notesOf(cacheDir, &notes))
			if name == "no modules" { // a tree that has no /lib at all is not one that any systemd runs on
				require.NoError(t, err)
				tc.want = "the source has none"
			}
			require.NoError(t, err)
			assert.Contains(t, notes, "the guest boots the kernel of debian-13, 6.1-debian: "+tc.want)
			assert.Equal(t, "6.1-debian", image.KernelVersion)
			assert.Equal(t, []string{"overlay"}, image.Modules)
			assert.FileExists(t, filepath.Join(image.ModulesDir(), "lib/overlay.ko"))
			assert.Contains(t, strings.Join(listSquashfs(t, image.Root()), "\n"), "lib/modules/6.1-debian/kernel/sound.ko")
		})
	}
}

// fillDefault puts an image with the name of Default into a cache.
func fillDefault(t *testing.T, cacheDir string) {
	t.Helper()
	c, err := openCache(cacheDir)
	require.NoError(t, err)
	p, err := newPlan(named(Default))
	require.NoError(t, err)
	_, err = c.replace(t.Context(), Default, &reporter{}, func(ctx context.Context, dir string, r *reporter) error {
		tree, err := rootfs.New(dir, 1<<20)
		if err != nil {
			return err
		}
		defer tree.Close()
		if err := tree.WriteFile("usr/lib/modules/6.1-debian/kernel/sound.ko", []byte("sound"), 0o644); err != nil {
			return err
		}
		if err := sampleBuild(ctx, dir, r); err != nil {
			return err
		}
		for _, name := range []string{rootFile, manifestFile} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		if err := packTree(ctx, tree, filepath.Join(dir, rootFile)); err != nil {
			return err
		}
		m := Manifest{Format: formatVersion, Name: Default, Inputs: p.inputs, Arch: runtime.GOARCH, KernelVersion: "6.1-debian", Modules: []string{"overlay"}}
		return m.describe(ctx, dir)
	})
	require.NoError(t, err)
}

// The newest of several kernels that can be used is taken.
func TestImportTakesTheNewestKernel(t *testing.T) {
	system := otherSystem(t)
	for _, e := range otherSystem(t) {
		if rest, ok := strings.CutPrefix(e.name, "usr/lib/modules/"+foreignKernel); ok {
			e.name = "usr/lib/modules/6.10.0-arch1-1" + rest
			system = append(system, e)
		}
	}
	system = append(system, entry{name: "usr/lib/modules/6.12.0/modules.dep"})
	image, err := Import(t.Context(), "other", writeSource(t, makeTar(t, system)), ImportOptions{Options: Options{Cache: t.TempDir()}})
	require.NoError(t, err)
	assert.Equal(t, "6.10.0-arch1-1", image.KernelVersion)
}
