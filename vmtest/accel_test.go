package vmtest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/images"
)

func TestEmulationIsSaidOnce(t *testing.T) {
	saidTCG = sync.Once{}
	var said []string
	c := Config{Progress: func(p images.Progress) { said = append(said, p.Text) }}
	(&inputs{}).noticeTCG(c)
	assert.Empty(t, said, "there is nothing to explain")
	for _, fault := range []string{"this host has no /dev/kvm", "another"} {
		(&inputs{kvmFault: fault}).noticeTCG(c)
	}
	assert.Equal(t, []string{"guests are emulated (TCG), for this host has no /dev/kvm"}, said)
}

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
	require.NoError(t, dropVerdicts(dir, time.Now().Add(-keepUnused)))
	assert.NoFileExists(t, filepath.Join(dir, "old"))
	assert.FileExists(t, filepath.Join(dir, "new"))
}
