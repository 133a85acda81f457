package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFingerprintIsStable(t *testing.T) {
	for _, accel := range []Accel{TCG, KVM} {
		m := Machine{Arch: "amd64", Binary: "true", Memory: 512, Accel: accel}
		emulator, args, err := Fingerprint(m)
		require.NoError(t, err)
		emulator2, args2, err := Fingerprint(m)
		require.NoError(t, err)
		assert.Equal(t, emulator, emulator2)
		assert.Equal(t, args, args2)
		m.Memory = 1024
		_, args2, err = Fingerprint(m)
		require.NoError(t, err)
		assert.NotEqual(t, args, args2)
	}
}

// TestFingerprintOfReplacedQEMU replaces the executable by one of the same size and
// modification time, as some package managers do.
func TestFingerprintOfReplacedQEMU(t *testing.T) {
	path := filepath.Join(t.TempDir(), "qemu")
	require.NoError(t, os.WriteFile(path, []byte("one"), 0o755))
	info, err := os.Stat(path)
	require.NoError(t, err)
	m := Machine{Arch: "amd64", Binary: path, Memory: 512}
	before, _, err := Fingerprint(m)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(before, path+" "), before)
	for name, replace := range map[string]func() error{
		"written in place": func() error { return os.WriteFile(path, []byte("two"), 0o755) },
		"another file": func() error {
			if err := os.WriteFile(path+"~", []byte("six"), 0o755); err != nil {
				return err
			}
			return os.Rename(path+"~", path)
		},
	} {
		require.NoError(t, replace())
		require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		after, _, err := Fingerprint(m)
		require.NoError(t, err)
		assert.NotEqual(t, before, after, name)
		before = after
	}
}

func TestFingerprintUnderKVMNamesTheHost(t *testing.T) {
	m := Machine{Arch: "amd64", Binary: "true", Memory: 512}
	emulated, _, err := Fingerprint(m)
	require.NoError(t, err)
	m.Accel = KVM
	accelerated, _, err := Fingerprint(m)
	require.NoError(t, err)
	host, ok := strings.CutPrefix(accelerated, emulated)
	require.True(t, ok)
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	require.NoError(t, err)
	assert.Contains(t, host, strings.TrimSpace(string(release)))
	assert.Regexp(t, `(?m)^(model name|CPU part)\s*:`, host)
	assert.NotContains(t, host, "MHz")
}

func TestProcessor(t *testing.T) {
	const one = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nmicrocode\t: 0x1\ncpu MHz\t\t: 2445.4\nflags\t\t: fpu vme\n\n"
	const want = "vendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nmicrocode\t: 0x1\nflags\t\t: fpu vme\n"
	assert.Equal(t, want, processor([]byte(one)))
	second := strings.NewReplacer("processor\t: 0", "processor\t: 1", "2445.4", "1200.0").Replace(one)
	assert.Equal(t, want, processor([]byte(one+second)), "processors that are alike")
	for _, change := range []string{"EPYC", "0x1", "vme", "AMD"} {
		assert.NotEqual(t, want, processor([]byte(strings.ReplaceAll(one, change, "other"))), change)
	}
	assert.NotEqual(t, want, processor([]byte(one+strings.ReplaceAll(second, " vme", ""))), "processors that differ")
}

func FuzzProcessor(f *testing.F) {
	f.Add([]byte("vendor_id\t: AuthenticAMD\nmodel\t: 1\n\nmodel\t: 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		once := processor(data)
		assert.Equal(t, once, processor([]byte(once)))
		assert.LessOrEqual(t, len(once), len(data))
	})
}
