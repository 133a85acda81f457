package qemu

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A build is told from others by its version and its executable, not by where that is.
func TestBuild(t *testing.T) {
	build := func(script string) Build {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte("#!/bin/sh\n"+script), 0o755))
		t.Setenv("PATH", dir+":/usr/bin:/bin")
		b, err := IdentifyBuild(t.Context(), Machine{Arch: "amd64"})
		require.NoError(t, err)
		return b
	}
	one := build("echo QEMU emulator version 1\necho Copyright")
	assert.Equal(t, "QEMU emulator version 1", one.Version)
	assert.Empty(t, one.Processor, "emulation")
	assert.NoError(t, build("echo QEMU emulator version 1\necho Copyright").Loads(one))
	assert.EqualError(t, build("echo QEMU emulator version 2").Loads(one),
		`QEMU of another version: it was saved by "QEMU emulator version 1", and this host has "QEMU emulator version 2"`)
	assert.ErrorContains(t, build("echo QEMU emulator version 1\n# patched").Loads(one), "another build of QEMU: it was saved by ")
	other := one
	other.Processor = "model name: other"
	assert.ErrorContains(t, one.Loads(other), "another processor or kernel under KVM")
}

func TestBuildUnderKVMNamesTheHost(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte("#!/bin/sh\necho QEMU"), 0o755))
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	b, err := IdentifyBuild(t.Context(), Machine{Arch: "amd64", Accel: KVM})
	require.NoError(t, err)
	assert.NotEmpty(t, b.Processor)
}
