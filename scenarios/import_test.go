package scenarios

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest"
)

// TestImport imports the root file system of a distribution that is arranged unlike
// Debian, as a tar archive, an OCI layout and an archive of docker save, and follows the
// guide in a guest of it. No other distribution is at hand where these tests run, so it
// is made of Debian's packages; see rearrange.
func TestImport(t *testing.T) {
	t.Parallel()
	base := importBase(t)
	tree := filepath.Join(t.TempDir(), "tree")
	rearrange(t, base, tree)
	addKernel(t, base, filepath.Join(tree, "usr/lib/modules", base.KernelVersion))
	setTimes(t, tree)
	archive := filepath.Join(t.TempDir(), "root.tar")
	tool(t, "tar", "-C", tree, "--sort=name", "--format=pax", "-cf", archive, ".")
	container := containerOf(t, archive)

	var digest, imported string
	for kind, source := range map[string]string{
		"directory":      tree,
		"tar archive":    compress(t, archive),
		"OCI layout":     ociArchive(t, container),
		"docker archive": dockerArchive(t, container),
	} {
		image, notes := importFrom(t, source)
		assert.Equal(t, kind, image.Imported)
		assert.Equal(t, []string{"the guest boots its own kernel " + base.KernelVersion, "the guest lacks ss: errors of Dial do not name what listens"}, notes)
		assert.Equal(t, []string{"ss"}, image.Lacks)
		assert.Equal(t, "Rearranged Linux 7", image.Distribution)
		assert.Equal(t, base.SystemdVersion, image.SystemdVersion, "found without the database of dpkg")
		assert.Equal(t, []images.Package{{Name: "systemd", Version: "257-1", Arch: "any"}}, image.Packages)
		if ownBin(base) {
			assert.Equal(t, "/usr/bin", image.BinDir())
		}
		assert.Equal(t, "/run/systemd/system", image.UnitDir())
		if digest == "" {
			digest, imported = image.Digest, image.Name
		}
		assert.Equal(t, digest, image.Digest, "one root file system gives one image, whatever it comes in")
	}

	g := vmtest.Start(t, vmtest.Config{Image: imported})
	assertRunning(t, g)
	assert.Contains(t, g.Run(t, "cat", "/etc/os-release"), "ID=rearranged")
	assertShow(t, g, "systemd-journald.service", properties{"FragmentPath": "/usr/local/lib/systemd/system/systemd-journald.service"})
	followGuide(t, g)
}

// TestImportWithoutKernel imports a root file system that has no kernel, as those of
// containers have none. The guest boots Debian's, and loads modules of it.
func TestImportWithoutKernel(t *testing.T) {
	t.Parallel()
	base := importBase(t)
	tree := filepath.Join(t.TempDir(), "tree")
	rearrange(t, base, tree)
	require.NoError(t, os.RemoveAll(filepath.Join(tree, "usr/lib/modules")))
	setTimes(t, tree)
	image, notes := importFrom(t, tree)
	assert.Contains(t, notes, fmt.Sprintf("the guest boots the kernel of %s, %s: the source has none", images.Default, image.KernelVersion))

	g := vmtest.Start(t, vmtest.Config{Image: image.Name})
	assert.Equal(t, image.KernelVersion+"\n", g.Run(t, "uname", "-r"))
	g.Run(t, "modprobe", "loop")
	assertRunning(t, g)
}

// importBase returns the image of Debian that is rearranged.
func importBase(t *testing.T) *images.Image {
	t.Helper()
	hostSide(t)
	needMachine(t)
	if images.IsPath(os.Getenv("VMTEST_IMAGE")) {
		t.Skip("rearranges an image of Debian: run it with VMTEST_IMAGE=" + images.Default)
	}
	base, err := images.Open(t.Context(), images.Spec{Base: images.Default}, images.Options{})
	require.NoError(t, err)
	return base
}

// importFrom imports a source under a name of this process, until the test ends. It
// returns the notices, too.
func importFrom(t *testing.T, source string) (image *images.Image, notes []string) {
	t.Helper()
	name := fmt.Sprintf("rearranged-%d-%d", os.Getpid(), imports.Add(1))
	t.Cleanup(func() {
		assert.NoError(t, images.Remove(context.WithoutCancel(t.Context()), name, images.Options{}))
	})
	image, err := images.Import(t.Context(), name, source, images.ImportOptions{Options: images.Options{Progress: func(p images.Progress) {
		if p.Notice {
			notes = append(notes, p.Text)
		}
	}}})
	require.NoError(t, err, "import %s", source)
	return image, notes
}

var imports atomic.Int64

// rearrange makes dir the root file system of a distribution that is not arranged like
// Debian, of whose packages it consists: programs are in /usr/bin, and /bin has a shell
// only; units are in /usr/local/lib/systemd/system; /etc/systemd/system is a link; the
// package database is pacman's; ss is missing.
func rearrange(t *testing.T, base *images.Image, dir string) {
	t.Helper()
	tool(t, "unsquashfs", "-no-progress", "-quiet", "-d", dir, base.Root())
	in := func(path string) string { return filepath.Join(dir, filepath.FromSlash(path)) }
	move := func(from, to string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(in(to)), 0o755))
		require.NoError(t, os.Rename(in(from), in(to)))
	}
	write := func(path, text string) {
		require.NoError(t, os.RemoveAll(in(path)))
		require.NoError(t, os.MkdirAll(filepath.Dir(in(path)), 0o755))
		require.NoError(t, os.WriteFile(in(path), []byte(text), 0o644))
	}
	require.NoError(t, os.RemoveAll(in("var/lib/dpkg")))
	write("var/lib/pacman/local/systemd-257-1/desc", "%NAME%\nsystemd\n\n%VERSION%\n257-1\n\n%ARCH%\nany\n")
	write("etc/os-release", "PRETTY_NAME=\"Rearranged Linux 7\"\nID=rearranged\nVERSION_ID=7\n")
	if ownBin(base) {
		require.NoError(t, os.Remove(in("bin")))
		require.NoError(t, os.Mkdir(in("bin"), 0o755))
		require.NoError(t, os.Symlink("../usr/bin/sh", in("bin/sh")))
	}
	require.NoError(t, os.Remove(in("usr/bin/ss")))
	require.NoError(t, os.Remove(in("usr/bin/nc"))) // a link of Debian's alternatives through /bin
	require.NoError(t, os.Symlink("nc.openbsd", in("usr/bin/nc")))
	move("usr/lib/systemd/system", "usr/local/lib/systemd/system")
	move("etc/systemd/system", "usr/share/units")
	require.NoError(t, os.Symlink("/usr/share/units", in("etc/systemd/system")))
}

// setTimes gives all files one time, so that each run has the same image and snapshot.
func setTimes(t *testing.T, dir string) {
	t.Helper()
	times := []unix.Timespec{{Sec: 1735689600}, {Sec: 1735689600}}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

// addKernel puts the kernel of an image beside its modules in dir, and compresses those
// for the boot by zstd, as all of Arch are.
func addKernel(t *testing.T, base *images.Image, dir string) {
	t.Helper()
	kernel, err := os.ReadFile(base.Kernel())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vmlinuz"), kernel, 0o644))
	dep := filepath.Join(dir, "modules.dep")
	index, err := os.ReadFile(dep)
	require.NoError(t, err)
	// Others stay as they are, because depmod need not be here to index them.
	early := regexp.MustCompile(`((?:virtio|squashfs|overlay|pvpanic)[a-z_-]*\.ko)\.xz`)
	require.NoError(t, os.WriteFile(dep, early.ReplaceAll(index, []byte("$1.zst")), 0o644))
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !early.MatchString(filepath.Base(path)) {
			return err
		}
		packed, err := os.ReadFile(path)
		require.NoError(t, err)
		r, err := xz.NewReader(bytes.NewReader(packed))
		require.NoError(t, err)
		module, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(strings.TrimSuffix(path, "xz")+"zst", w.EncodeAll(module, nil), 0o644))
		return os.Remove(path)
	}))
}

// ownBin reports whether a /bin of its own can be taken from Debian's packages. Those
// before trixie run /bin/mount, /bin/kmod and others.
func ownBin(base *images.Image) bool { return base.SystemdMajor >= 257 }

// compress returns the path of the archive compressed by zstd.
func compress(t *testing.T, archive string) string {
	t.Helper()
	in, err := os.Open(archive)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.Create(archive + ".zst")
	require.NoError(t, err)
	defer out.Close()
	w, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest))
	require.NoError(t, err)
	_, err = io.Copy(w, in)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Name()
}

// containerOf returns a container image of three layers that add up to the archive: the
// first has files that the last removes.
func containerOf(t *testing.T, archive string) v1.Image {
	t.Helper()
	layers := []v1.Layer{
		layerOf(t, map[string]string{"etc/leftover": "x", "opt/old/a": "x", "etc/hostname": "old"}),
		nil,
		layerOf(t, map[string]string{"etc/.wh.leftover": "", "opt/.wh.old": "", "etc/.wh.hostname": ""}),
	}
	var err error
	layers[1], err = tarball.LayerFromFile(archive)
	require.NoError(t, err)
	image, err := mutate.AppendLayers(empty.Image, layers...)
	require.NoError(t, err)
	image, err = mutate.ConfigFile(image, configOf(t, image))
	require.NoError(t, err)
	return image
}

func configOf(t *testing.T, image v1.Image) *v1.ConfigFile {
	t.Helper()
	config, err := image.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.Architecture, config.OS = runtime.GOARCH, "linux"
	return config
}

func layerOf(t *testing.T, files map[string]string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(1, 0)}))
		_, err := io.WriteString(w, content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	require.NoError(t, err)
	return layer
}

// ociArchive returns the path of a tar archive of an OCI layout.
func ociArchive(t *testing.T, image v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	require.NoError(t, err)
	require.NoError(t, path.AppendImage(image, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH})))
	archive := filepath.Join(t.TempDir(), "oci.tar")
	tool(t, "tar", "-C", dir, "-cf", archive, ".")
	return archive
}

// dockerArchive returns the path of an archive as docker save writes it.
func dockerArchive(t *testing.T, image v1.Image) string {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "docker.tar")
	require.NoError(t, tarball.WriteToFile(archive, name.MustParseReference("rearranged:7"), image))
	return archive
}

// tool runs a command on the host, which must succeed.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %q\n%s", name, args, out)
}
