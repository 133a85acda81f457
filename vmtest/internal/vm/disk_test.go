package vm

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

func TestDiskHasOneMachine(t *testing.T) {
	t.Setenv("VMTEST_CACHE", t.TempDir())
	// It stands in for a QEMU that runs until it is killed.
	binary := filepath.Join(t.TempDir(), "qemu")
	require.NoError(t, os.WriteFile(binary, []byte("#!/bin/sh\nexec sleep infinity\n"), 0o755))
	machine := qemu.Machine{Arch: "amd64", Binary: binary, Memory: 512}
	image := &images.Image{Manifest: images.Manifest{Name: "debian-13", Digest: "13"}}
	disk, err := FormatDisk(t.Context(), 64)
	require.NoError(t, err)

	first, err := disk.run(image, machine)
	require.NoError(t, err)
	_, err = disk.run(image, machine)
	assert.EqualError(t, err, "start machine: another one runs on its disk; Kill or Close that one first")
	first.Kill()
	second, err := disk.run(image, machine)
	require.NoError(t, err)
	second.Kill()

	other := &images.Image{Manifest: images.Manifest{Name: "debian-12", Digest: "12"}}
	_, err = disk.run(other, machine)
	assert.EqualError(t, err, "start machine: its disk was written by another image than this debian-12; give each image a disk of its own")

	require.NoError(t, disk.Close())
	require.NoError(t, disk.Close(), "closed again")
	_, err = disk.run(image, machine)
	assert.EqualError(t, err, "start machine: its disk is closed")
}

func TestDiskIsSparseAndNameless(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("VMTEST_CACHE", cache)
	disk, err := FormatDisk(t.Context(), 0)
	require.NoError(t, err)
	t.Cleanup(func() { disk.Close() })
	info, err := disk.file.Stat()
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	assert.EqualValues(t, defaultDisk<<20, stat.Size)
	assert.Less(t, stat.Blocks*512, int64(4<<20), "bytes on the host")
	assert.Zero(t, stat.Nlink)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	left, err := filepath.Glob(filepath.Join(cache, "*", "*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestBadDisk(t *testing.T) {
	t.Setenv("VMTEST_CACHE", t.TempDir())
	_, err := FormatDisk(t.Context(), 3)
	assert.EqualError(t, err, "format disk: 3 MiB are too few; the least is 64")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = FormatDisk(ctx, 64)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestNoSnapshotOfADisk(t *testing.T) {
	s := Spec{Files: someFiles(), Disk: new(Disk)}
	_, err := ForkBase(t.Context(), s)
	assert.ErrorContains(t, err, "fork debian-13: machine has Config.Disk; snapshots hold no disk")
	_, err = newMachine(s, nil).Snapshot(t.Context())
	assert.ErrorContains(t, err, "snapshot debian-13: machine has Config.Disk; snapshots hold no disk")
}
