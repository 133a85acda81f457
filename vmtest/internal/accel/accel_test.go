package accel

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

func TestComplaint(t *testing.T) {
	assert.Equal(t, "failed to set MSR 0x10a to 0x69",
		complaint("qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69\nqemu-system-x86_64: more"))
	assert.Equal(t, "Could not access KVM kernel module: Permission denied",
		complaint("qemu-system-x86_64: Could not access KVM kernel module: Permission denied"))
	assert.Equal(t, "oops", complaint("oops"))
}

func TestOldVerdictsGo(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"old", "new"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	year := time.Now().AddDate(-1, 0, 0)
	require.NoError(t, os.Chtimes(filepath.Join(dir, "old"), year, year))
	require.NoError(t, dropVerdicts(dir, time.Now().Add(-keepVerdicts)))
	assert.NoFileExists(t, filepath.Join(dir, "old"))
	assert.FileExists(t, filepath.Join(dir, "new"))
}

// No byte of a verdict against KVM can be changed, and no part of it lost, so that
// it becomes one for KVM, or the other way round.
func TestSpoiledVerdictIsNoOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "verdict")
	for _, want := range []verdict{{RunsKVM: true}, {KVMFault: "KVM runs no guest here"}} {
		whole, err := json.Marshal(want)
		require.NoError(t, err)
		read := func(data []byte) (verdict, bool) {
			require.NoError(t, os.WriteFile(path, data, 0o600))
			return readVerdict(path)
		}
		got, ok := read(whole)
		assert.True(t, ok)
		assert.Equal(t, want, got)
		for i := range whole {
			_, ok := read(whole[:i])
			assert.False(t, ok, "%s", whole[:i])
			for bit := range 8 {
				data := []byte(string(whole))
				data[i] ^= 1 << bit
				if got, ok := read(data); ok {
					assert.Equal(t, want.RunsKVM, got.RunsKVM, "%s", data)
				}
			}
		}
	}
	_, ok := readVerdict(filepath.Join(t.TempDir(), "none"))
	assert.False(t, ok)
}

// A QEMU that another process killed, or that got no memory, may run the next time.
func TestFinalVerdict(t *testing.T) {
	for script, final := range map[string]bool{
		"kill -KILL $$": false,
		"echo \"qemu: cannot set up guest memory 'ram': Cannot allocate memory\" >&2; exit 1": false,
		"echo 'qemu: error: failed to set MSR 0x10a to 0x69' >&2; kill -ABRT $$":              true,
		"echo 'qemu: Could not access KVM kernel module' >&2; exit 1":                         true,
		"exit 0": true,
	} {
		binary := filepath.Join(t.TempDir(), "qemu")
		require.NoError(t, os.WriteFile(binary, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
		p := probe{machine: qemu.Machine{Arch: "amd64", Binary: binary, Memory: 512}}
		fault, got, err := p.run(t.Context())
		assert.NoError(t, err, script)
		assert.Contains(t, fault, "KVM runs no guest here: ", script)
		assert.Equal(t, final, got, script)
	}
}
