package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
)

// An image that is built again while its files are opened yields the files of one
// build, with the digest of that build.
func TestOpenFilesOfAReplacedImage(t *testing.T) {
	t.Setenv("VMTEST_CACHE", t.TempDir())
	dir := filepath.Join(t.TempDir(), "image")
	fillImage(t, dir, "old")
	// The kernel and the root file system are open when the agent is read. A FIFO
	// holds that up until the image is another one.
	agent := filepath.Join(t.TempDir(), "agent")
	require.NoError(t, syscall.Mkfifo(agent, 0o600))
	t.Setenv("VMTEST_AGENT", agent)

	type result struct {
		files *Files
		err   error
	}
	opened := make(chan result, 1)
	go func() {
		f, err := openFiles(t.Context(), Options{Image: images.Spec{Base: dir}, Notice: func(string) {}})
		opened <- result{f, err}
	}()
	first, err := os.OpenFile(agent, os.O_WRONLY, 0)
	require.NoError(t, err)
	require.NoError(t, os.Rename(dir, dir+".old"))
	fillImage(t, dir, "new")
	// A second reader must find another FIFO, or it could read on in this one.
	next := agent + ".next"
	require.NoError(t, syscall.Mkfifo(next, 0o600))
	require.NoError(t, os.Rename(next, agent))
	write := func(w *os.File) {
		_, err := w.Write(executable(t))
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	write(first)
	// The second read of the agent, or the result of an openFiles that did not notice.
	again := make(chan *os.File, 1)
	go func() {
		if w, err := os.OpenFile(agent, os.O_WRONLY, 0); err == nil {
			again <- w
		}
	}()
	var got result
	select {
	case w := <-again:
		write(w)
		got = <-opened
	case got = <-opened:
	}
	require.NoError(t, got.err)
	defer got.files.close()
	want, err := images.Open(t.Context(), images.Spec{Base: dir}, images.Options{})
	require.NoError(t, err)
	assert.Equal(t, want.Digest, got.files.Image.Digest)
	for _, f := range []*os.File{got.files.Kernel, got.files.Root, got.files.Initrd} {
		content, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
		require.NoError(t, err)
		assert.Contains(t, string(content), "new ")
		assert.NotContains(t, string(content), "old ")
	}
}

// fillImage makes an image whose files begin with the text mark.
func fillImage(t *testing.T, dir, mark string) {
	t.Helper()
	const builtin = "virtio_pci.ko virtio_blk.ko virtio_console.ko virtio_rng.ko squashfs.ko\n"
	tree := t.TempDir()
	lib := filepath.Join(tree, "lib/modules/6.1")
	for path, content := range map[string]string{
		filepath.Join(dir, "vmlinuz"):         mark + " kernel",
		filepath.Join(dir, "rootfs.squashfs"): mark + " root",
		filepath.Join(lib, "modules.dep"):     "overlay.ko:\n",
		filepath.Join(lib, "modules.builtin"): builtin,
		filepath.Join(lib, "overlay.ko"):      mark + " module",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	require.NoError(t, images.Seal(dir, images.Manifest{
		Name: "sample", Arch: runtime.GOARCH, Distribution: "a sample", SystemdVersion: "257",
	}, tree))
}

// executable returns the header of a static executable for this processor.
func executable(t *testing.T) []byte {
	t.Helper()
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	header := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Ehsize: 64}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	var b bytes.Buffer
	require.NoError(t, binary.Write(&b, binary.LittleEndian, header))
	return b.Bytes()
}
