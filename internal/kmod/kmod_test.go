package kmod_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"

	"example.org/systemd-vmtest/internal/kmod"
)

const (
	dep = `kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio.ko.xz kernel/drivers/virtio/virtio_ring.ko.xz
kernel/drivers/virtio/virtio_ring.ko.xz: kernel/drivers/virtio/virtio.ko.xz
kernel/drivers/virtio/virtio.ko.xz:
kernel/fs/a-b.ko: kernel/fs/loop.ko
kernel/fs/loop.ko: kernel/fs/a-b.ko
not a line of it
`
	builtin = "kernel/fs/overlayfs/overlay.ko\nkernel/lib/crc-t10dif.ko\n"
)

func TestFiles(t *testing.T) {
	const dir = "kernel/drivers/"
	x := kmod.ParseIndex(dep, builtin)
	for name, test := range map[string]struct{ names, want []string }{
		"dependencies first": {[]string{"virtio_blk"}, []string{dir + "virtio/virtio.ko.xz", dir + "virtio/virtio_ring.ko.xz", dir + "block/virtio_blk.ko.xz"}},
		"each once":          {[]string{"virtio", "virtio_ring", "virtio"}, []string{dir + "virtio/virtio.ko.xz", dir + "virtio/virtio_ring.ko.xz"}},
		"built in":           {[]string{"overlay", "crc_t10dif"}, nil},
		"dashes":             {[]string{"crc-t10dif", "virtio-ring"}, []string{dir + "virtio/virtio.ko.xz", dir + "virtio/virtio_ring.ko.xz"}},
		"a circle":           {[]string{"a_b"}, []string{"kernel/fs/loop.ko", "kernel/fs/a-b.ko"}},
		"no names":           {nil, nil},
	} {
		got, err := x.Files(test.names...)
		require.NoError(t, err, name)
		assert.Equal(t, test.want, got, name)
	}
	_, err := x.Files("virtio", "ext4")
	assert.EqualError(t, err, "find kernel module ext4: neither in modules.dep nor in modules.builtin")
}

func TestDecompress(t *testing.T) {
	plain := bytes.Repeat([]byte("module "), 1000)
	var gz, x bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, err := w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	xw, err := xz.NewWriter(&x)
	require.NoError(t, err)
	_, err = xw.Write(plain)
	require.NoError(t, err)
	require.NoError(t, xw.Close())
	for file, content := range map[string][]byte{"a/b.ko": plain, "b.ko.gz": gz.Bytes(), "b.ko.xz": x.Bytes()} {
		got, err := kmod.Decompress(file, content)
		require.NoError(t, err, file)
		assert.Equal(t, plain, got, file)
	}
	for file, text := range map[string]string{
		"b.ko.zst": "decompress b.ko.zst: unknown compression .zst",
		"b.ko.gz":  "decompress b.ko.gz: ",
		"b.ko.xz":  "decompress b.ko.xz: ",
	} {
		_, err := kmod.Decompress(file, gz.Bytes()[:9])
		assert.ErrorContains(t, err, text)
	}
}

func TestDecompressIsBounded(t *testing.T) {
	var member bytes.Buffer
	w := gzip.NewWriter(&member)
	_, err := w.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = kmod.Decompress("b.ko.gz", bytes.Repeat(member.Bytes(), 65))
	assert.EqualError(t, err, "decompress b.ko.gz: more than 64 MiB")

	var x bytes.Buffer
	xw, err := xz.NewWriter(&x)
	require.NoError(t, err)
	require.NoError(t, xw.Close())
	header := []byte{2, 0, 0x21, 1, 40, 0, 0, 0} // of a block with a dictionary of 4 GiB
	header = binary.LittleEndian.AppendUint32(header, crc32.ChecksumIEEE(header))
	_, err = kmod.Decompress("b.ko.xz", append(x.Bytes()[:12:12], header...))
	assert.EqualError(t, err, "decompress b.ko.xz: xz: a dictionary of 4095 MiB: want 128 or less")
}

func FuzzFiles(f *testing.F) {
	f.Add(dep, builtin, "virtio_blk")
	f.Add("a.ko:", "", "a")
	f.Add("a.ko: a.ko b.ko", "", "a")
	f.Fuzz(func(t *testing.T, dep, builtin, name string) {
		files, err := kmod.ParseIndex(dep, builtin).Files(name)
		if err != nil {
			return
		}
		slices.Sort(files)
		if len(slices.Compact(files)) != len(files) {
			t.Errorf("a file comes twice: %q", files)
		}
	})
}
