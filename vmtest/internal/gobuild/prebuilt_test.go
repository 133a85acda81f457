package gobuild

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPrebuilt(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "agent")
	require.NoError(t, goBuild(t.Context(), agentPackage, runtime.GOARCH, program))
	want, err := os.ReadFile(program)
	require.NoError(t, err)
	t.Setenv("VMTEST_GO_PREBUILT", dir)
	for _, pkg := range []string{agentPackage, "./cmd/agent"} {
		got, err := Program(t.Context(), pkg, runtime.GOARCH, noNotice(t))
		require.NoError(t, err)
		assert.Equal(t, want, got, pkg)
	}

	_, err = Program(t.Context(), "example.org/other/cmd/daemon", runtime.GOARCH, noNotice(t))
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "read example.org/other/cmd/daemon from VMTEST_GO_PREBUILT: open ")

	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	_, err = Program(t.Context(), agentPackage, other, noNotice(t))
	assert.ErrorContains(t, err, "check "+agentPackage+" from VMTEST_GO_PREBUILT: "+program+": executable is for ")
	assert.ErrorContains(t, err, ", guest is "+other)

	// A command of another package has the same last element.
	for _, pkg := range []string{"example.org/other/cmd/agent", "./other/agent", "../other/agent"} {
		_, err = Program(t.Context(), pkg, runtime.GOARCH, noNotice(t))
		assert.EqualError(t, err, "check "+pkg+" from VMTEST_GO_PREBUILT: "+program+": executable is of package "+agentPackage)
	}

	require.NoError(t, os.WriteFile(filepath.Join(dir, "script"), []byte("#!/bin/sh\n"), 0o755))
	_, err = Program(t.Context(), "./script", runtime.GOARCH, noNotice(t))
	assert.ErrorContains(t, err, "read executable")

	// Turn the first program header into that of a dynamic loader. On both
	// architectures the table follows the 64 bytes of the ELF header.
	binary.LittleEndian.PutUint32(want[64:], uint32(elf.PT_INTERP))
	require.NoError(t, os.WriteFile(program, want, 0o755))
	_, err = Program(t.Context(), agentPackage, runtime.GOARCH, noNotice(t))
	assert.ErrorContains(t, err, "executable is not static")
}
