package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
)

var epoch = time.Unix(defaultEpoch, 0)

// entry is one entry of a made-up guest's tree.
type entry struct {
	name, content, link string
	kind                byte
	mode                int64 // 0 is 0644
	xattrs              map[string]string
}

func makeTar(t testing.TB, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		if e.mode == 0 {
			e.mode = 0o644
		}
		hdr := &tar.Header{Name: "./" + e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode,
			Size: int64(len(e.content)), Uid: 7, Uname: "builder", ModTime: epoch.Add(time.Hour),
			PAXRecords: e.xattrs, Format: tar.FormatPAX}
		require.NoError(t, w.WriteHeader(hdr))
		_, err := w.Write([]byte(e.content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func readTar(t *testing.T, b []byte) map[string]*tar.Header {
	t.Helper()
	got := map[string]*tar.Header{}
	r := tar.NewReader(bytes.NewReader(b))
	for {
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		require.NoError(t, err)
		got[hdr.Name] = hdr
	}
}

func xzOf(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	require.NoError(t, err)
	_, err = io.WriteString(w, s)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

const kver = "6.1-cloud"

func guestTree(t *testing.T) []entry {
	lib := "usr/lib/modules/" + kver + "/"
	return []entry{
		{name: "", kind: tar.TypeDir},
		{name: "boot/", kind: tar.TypeDir},
		{name: "boot/vmlinuz-" + kver, content: "the kernel"},
		{name: "dev/null", kind: tar.TypeChar},
		{name: "etc/hostname", content: "buildhost"},
		{name: "etc/machine-id", content: "0123456789abcdef"},
		{name: "etc/passwd", content: "root"},
		{name: "usr/bin/ping", content: "ping", xattrs: map[string]string{
			"SCHILY.xattr.security.capability": "cap", "SCHILY.xattr.system.posix_acl_access": "acl"}},
		{name: lib + "kernel/overlay.ko.xz", content: xzOf(t, "overlay module")},
		{name: lib + "kernel/other.ko.xz", content: xzOf(t, "other module")},
		{name: lib + "kernel/squashfs.ko", content: "squashfs module"},
		{name: lib + "modules.builtin", content: "kernel/virtio_pci.ko\nkernel/virtio_console.ko\nkernel/virtio-rng.ko\n"},
		{name: lib + "modules.dep", content: "kernel/overlay.ko.xz: kernel/squashfs.ko\nkernel/squashfs.ko:\n" +
			"kernel/other.ko.xz:\nkernel/virtio_blk.ko:\n"},
		{name: lib + "kernel/virtio_blk.ko", content: "blk module"},
		{name: "usr/lib/os-release", content: "PRETTY_NAME=\"Debian 13\"\nID=debian\n"},
		{name: "usr/share/doc/systemd/copyright", content: "LGPL"},
		{name: "usr/share/doc/systemd/NEWS.gz", content: "news"},
		{name: "var/lib/dpkg/status", content: "Package: systemd\nStatus: install ok installed\nArchitecture: amd64\n" +
			"Version: 257.8-1~deb13u2\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n"},
		{name: "vmlinuz", kind: tar.TypeSymlink, link: "boot/vmlinuz-" + kver},
	}
}

func TestFilterTree(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	tree, err := filterTree(bytes.NewReader(makeTar(t, guestTree(t))), &out, dir, epoch)
	require.NoError(t, err)
	assert.Equal(t, kver, tree.kernelVersion)
	assert.Equal(t, "Debian 13", tree.distribution)
	assert.Equal(t, []Package{{"systemd", "257.8-1~deb13u2", "amd64"}}, tree.packages)
	kernel, err := os.ReadFile(filepath.Join(dir, kernelFile))
	require.NoError(t, err)
	assert.Equal(t, "the kernel", string(kernel))

	got := readTar(t, out.Bytes())
	for _, cut := range []string{"dev/null", "etc/hostname", "vmlinuz", "boot/vmlinuz-" + kver, "usr/share/doc/systemd/NEWS.gz"} {
		assert.NotContains(t, got, "./"+cut)
	}
	for _, kept := range []string{"boot/", "etc/passwd", "usr/share/doc/systemd/copyright",
		"usr/lib/modules/" + kver + "/kernel/other.ko.xz"} {
		assert.Contains(t, got, "./"+kept)
	}
	assert.Zero(t, got["./etc/machine-id"].Size)
	ping := got["./usr/bin/ping"]
	assert.Equal(t, 7, ping.Uid)
	assert.Empty(t, ping.Uname)
	assert.True(t, ping.ModTime.Equal(epoch))
	assert.Equal(t, map[string]string{"SCHILY.xattr.security.capability": "cap"}, ping.PAXRecords)
}

func TestFilterTreeTorn(t *testing.T) {
	whole := makeTar(t, guestTree(t))
	_, err := filterTree(bytes.NewReader(whole[:bytes.Index(whole, []byte("the kernel"))+4]), io.Discard, t.TempDir(), epoch)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorAs(t, err, new(*treeError))
	_, err = filterTree(bytes.NewReader(nil), io.Discard, t.TempDir(), epoch)
	require.ErrorContains(t, err, "no kernel")
}

func TestFilterTreeLinkToCut(t *testing.T) {
	b := makeTar(t, append(guestTree(t), entry{name: "zz", kind: tar.TypeLink, link: "./etc/hostname"}))
	_, err := filterTree(bytes.NewReader(b), io.Discard, t.TempDir(), epoch)
	require.ErrorContains(t, err, "zz links to etc/hostname, which is cut")
}

func TestFinishDescribesTheImage(t *testing.T) {
	dir := t.TempDir()
	tree, err := filterTree(bytes.NewReader(makeTar(t, guestTree(t))), io.Discard, dir, epoch)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, rootFile), []byte("root"), 0o644))
	b, err := newBuilder(named(Default), Options{}, cache{})
	require.NoError(t, err)
	require.NoError(t, b.finish(t.Context(), dir, tree))

	m, err := verify(t.Context(), dir, filepath.Join(t.TempDir(), "stamp"), Default)
	require.NoError(t, err)
	assert.Equal(t, 257, m.SystemdMajor)
	assert.Equal(t, kver, m.KernelVersion)
	assert.Equal(t, []string{"virtio_blk", "squashfs", "overlay"}, m.Modules)
	base := filepath.Join(dir, "modules/lib/modules", kver)
	ko, err := os.ReadFile(filepath.Join(base, "kernel/overlay.ko"))
	require.NoError(t, err)
	assert.Equal(t, "overlay module", string(ko))
	dep, err := os.ReadFile(filepath.Join(base, "modules.dep"))
	require.NoError(t, err)
	assert.Equal(t, "kernel/overlay.ko: kernel/squashfs.ko\nkernel/squashfs.ko:\nkernel/virtio_blk.ko:\n", string(dep))
	assert.NoFileExists(t, filepath.Join(base, "kernel/other.ko"))
}

// The modules wait in a file and not in memory.
func TestFilterTreeKeepsModulesOutOfMemory(t *testing.T) {
	const size = 1 << 20
	tree := guestTree(t)
	for i := range 32 {
		tree = append(tree, entry{name: fmt.Sprintf("usr/lib/modules/%s/kernel/m%d.ko", kver, i), content: strings.Repeat("x", size)})
	}
	archive := makeTar(t, tree)
	tree = nil
	before := heapInUse()
	kept, err := filterTree(bytes.NewReader(archive), io.Discard, t.TempDir(), epoch)
	require.NoError(t, err)
	defer kept.modules.close()
	assert.Less(t, heapInUse()-before, int64(8*size), "bytes kept in memory of 32 MiB")
	last, err := kept.modules.read(kver, "kernel/m31.ko")
	require.NoError(t, err)
	assert.Len(t, last, size)
	runtime.KeepAlive(archive)
}

// heapInUse returns how many bytes of the heap are reachable.
func heapInUse() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestFilterTreeBoundsWhatItKeeps(t *testing.T) {
	tree := append(guestTree(t), entry{name: "usr/lib/modules/" + kver + "/kernel/huge.ko", content: strings.Repeat("x", 64<<20+1)})
	_, err := filterTree(bytes.NewReader(makeTar(t, tree)), io.Discard, t.TempDir(), epoch)
	require.ErrorContains(t, err, "kernel/huge.ko: more than 64 MiB")
}
