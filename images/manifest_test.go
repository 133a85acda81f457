package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sampleManifest() Manifest {
	m := Manifest{
		Format: formatVersion, Name: "debian-13", Suite: "trixie", Arch: "amd64",
		SystemdVersion: "257.8-1~deb13u2", SystemdMajor: 257, KernelVersion: "6.12.1-cloud-amd64",
		Modules:  []string{"virtio_blk", "overlay"},
		Packages: []Package{{"systemd", "257.8-1~deb13u2", "amd64"}},
		Files:    []File{{rootFile, 5, "aa"}, {kernelFile, 7, "bb"}},
		Built:    time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC),
	}
	m.Digest = digestFiles(m.Files)
	return m
}

func TestManifestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	m := sampleManifest()
	require.NoError(t, m.write(dir))
	got, err := readManifest(dir)
	require.NoError(t, err)
	assert.Equal(t, m, got)
	assert.NotEmpty(t, got.Seal)
}

// A program whose manifests have a field more, or an option that this one does not have,
// can use the same cache.
func TestManifestOfALaterProgram(t *testing.T) {
	dir := t.TempDir()
	m := sampleManifest()
	require.NoError(t, m.write(dir))
	path := filepath.Join(dir, manifestFile)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	later := strings.Replace(string(b), `  "suite"`, `  "later": "value",`+"\n"+`  "suite"`, 1)
	require.NotEqual(t, string(b), later)
	_, err = parseManifest([]byte(later))
	require.EqualError(t, err, "the manifest was altered", "with the seal of another")
	seal := sealOf([]byte(later), m.Seal)
	later = strings.Replace(later, m.Seal, seal, 1)
	got, err := parseManifest([]byte(later))
	require.NoError(t, err)
	m.Seal = seal
	assert.Equal(t, m, got)
	assert.NotEqual(t, dirOf(formatVersion), dirOf(formatVersion+1))
	assert.Equal(t, "images", dirOf(2))
}

// What is written can be read again, whatever a guest has.
func TestManifestIsBounded(t *testing.T) {
	m := sampleManifest()
	m.Packages = []Package{{Name: strings.Repeat("<", 12<<20)}} // each takes 6 bytes of JSON
	assert.EqualError(t, m.write(t.TempDir()), "write manifest: more than 64 MiB")
}

func TestManifestDamage(t *testing.T) {
	for _, tc := range []struct {
		name, old, new, want string
	}{
		{"torn", "}\n", "", "not valid JSON"},
		{"other format", `"format": 2`, `"format": 99`, "its format is 99"},
		{"package version", "deb13u2", "deb13u3", "altered"},
		{"file hash", `"aa"`, `"ab"`, "altered"},
		{"build time", "2025-06-01", "2025-06-02", "altered"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			m := sampleManifest()
			require.NoError(t, m.write(dir))
			path := filepath.Join(dir, manifestFile)
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			altered := strings.Replace(string(b), tc.old, tc.new, 1)
			if tc.new == "" {
				altered = string(b[:len(b)/2])
			}
			require.NotEqual(t, string(b), altered)
			require.NoError(t, os.WriteFile(path, []byte(altered), 0o600))
			_, err = readManifest(dir)
			var broken damage
			require.ErrorAs(t, err, &broken)
			assert.ErrorContains(t, err, tc.want)
		})
	}
}

func TestDigestLeavesOutTheBuildTime(t *testing.T) {
	a, b := sampleManifest(), sampleManifest()
	b.Built = b.Built.Add(time.Hour)
	assert.Equal(t, a.Digest, b.Digest)
	// What sha256sum(1) prints for "aa  rootfs.squashfs\nbb  vmlinuz\n".
	assert.Equal(t, "d46f27071510b51b60a82cc2f73bf3e68f737220b95a77bb9f4a0eaf8f73f3c0", a.Digest)
	b.Files[0].SHA256 = "ac"
	assert.NotEqual(t, a.Digest, digestFiles(b.Files))
}

// An image may come from elsewhere, with a seal of its own.
func TestManifestWithControlCharacters(t *testing.T) {
	m := Manifest{Format: formatVersion, Name: "sample", KernelVersion: "6.1\x1b]0;title\x07", Digest: digestFiles(nil)}
	var err error
	m.Seal, err = m.seal()
	require.NoError(t, err)
	b, err := m.encode()
	require.NoError(t, err)
	_, err = parseManifest(b)
	require.ErrorAs(t, err, new(damage))
	assert.ErrorContains(t, err, "control characters in \"6.1")
}
