package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/tail"

	"example.org/systemd-vmtest/internal/kmod"
)

// An accepted manifest has only files inside the image's directory, and is the same
// after it was written and read again.
func FuzzParseManifest(f *testing.F) {
	sample := sampleManifest()
	require.NoError(f, sample.write(f.TempDir()))
	whole, err := sample.encode()
	require.NoError(f, err)
	f.Add(whole)
	f.Add(bytes.Replace(whole, []byte(`"vmlinuz"`), []byte(`"../\u001b[31m"`), 1))
	f.Add([]byte(`{"format": 2, "built": "2025-06-01T12:00:00+23:59", "files": null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseManifest(b); err != nil {
			assertOneLine(t, err.Error())
		}
		var m Manifest
		if json.Unmarshal(b, &m) != nil {
			return
		}
		// The fuzzer cannot find digests, so it gets them.
		m.Format, m.Digest = formatVersion, digestFiles(m.Files)
		seal, err := m.seal()
		require.NoError(t, err)
		m.Seal = seal
		encoded, err := m.encode()
		require.NoError(t, err)
		got, err := parseManifest(encoded)
		if err != nil {
			assertOneLine(t, err.Error())
			return
		}
		again, err := got.encode()
		require.NoError(t, err)
		assert.Equal(t, string(encoded), string(again))
		for _, file := range got.Files {
			assert.True(t, filepath.IsLocal(file.Path), "%q", file.Path)
		}
	})
}

func FuzzParseStamp(f *testing.F) {
	f.Add([]byte(`{"dir":"/x","seal":"a","files":{"vmlinuz":{"dev":1,"ino":2,"size":3,"mtime":4,"ctime":5}}}`))
	f.Add([]byte(`{"files":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := parseStamp(b)
		encoded, err := json.Marshal(s)
		require.NoError(t, err)
		assert.True(t, s.equal(parseStamp(encoded)))
	})
}

func FuzzParseNote(f *testing.F) {
	f.Add([]byte("/tmp/vmtest-image-build-debian-13-1"))
	f.Add([]byte("/tmp/vmtest-image-"))
	f.Add([]byte("/tmp/vmtest-image-/.."))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir, ok := parseNote(b)
		if !ok {
			return
		}
		assert.True(t, filepath.IsAbs(dir))
		assert.Greater(t, len(filepath.Base(dir)), len(scratchPrefix))
		assert.True(t, strings.HasPrefix(filepath.Base(filepath.Clean(dir)), scratchPrefix))
	})
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte("Package: systemd\nStatus: install ok installed\nArchitecture: amd64\nVersion: 257.8-1~deb13u2\n\n" +
		"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"))
	f.Add([]byte("Status: install ok installed\nDescription: x\n .\n Package: y\n\n\n\nPackage: systemd\nVersion: 1:9\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list := parseStatus(b)
		assert.True(t, slices.IsSortedFunc(list, func(a, b Package) int { return strings.Compare(a.Name, b.Name) }))
		for _, p := range list {
			assert.NotEmpty(t, p.Name)
			assert.NotContains(t, p.Name+p.Version+p.Arch, "\n")
		}
		version, major, err := systemdVersion(list)
		if err != nil {
			assertOneLine(t, err.Error())
			return
		}
		assert.GreaterOrEqual(t, major, 0)
		assert.NotEmpty(t, version)
	})
}

func FuzzNeededFiles(f *testing.F) {
	f.Add("kernel/virtio_pci.ko.xz: kernel/b.ko\nkernel/b.ko:\n", "kernel/c.ko\n")
	f.Add("kernel/virtio_pci.ko: kernel/b.ko\nkernel/b.ko: kernel/virtio_pci.ko\n", "")
	f.Add("../../../etc/virtio_pci.ko: /etc/y.ko\n", "")
	f.Fuzz(func(t *testing.T, dep, builtin string) {
		order, err := neededFiles(kmod.ParseIndex(dep, builtins+builtin))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, file := range order {
			assert.True(t, filepath.IsLocal(file), "%q", file)
			assert.False(t, seen[file], "%q twice", file)
			seen[file] = true
		}
		for line := range strings.Lines(plainDep(dep, order)) {
			_, list, ok := strings.Cut(line, ":")
			assert.True(t, ok)
			assert.True(t, list == "\n" || strings.HasPrefix(list, " "), "%q", line)
		}
	})
}

func FuzzExplain(f *testing.F) {
	f.Add("E: Unable to locate package nonesuch\nE: mmdebstrap failed to run")
	f.Add("\x1b[31mE: 404  Not Found\r\n\n")
	f.Add("\x1bA")
	f.Fuzz(func(t *testing.T, output string) {
		err := explain("mmdebstrap", output, errors.New("exit status 1"))
		assertOneLine(t, err.Error())
		assert.NotEqual(t, "run mmdebstrap: ", err.Error())
	})
}

func FuzzWatchOutput(f *testing.F) {
	f.Add("I: downloading packages with apt...\n0 upgraded, 2 newly installed, 0 to remove\nGet:1 x\nGet:2 y\nGet:3 z\nSetting up x\n")
	f.Add("1 upgraded, 99999999999999999999 newly installed\nGet:1\n")
	f.Fuzz(func(t *testing.T, output string) {
		end := tail.NewBuffer(tailKept)
		watchOutput(strings.NewReader(output), end, &reporter{fn: func(p Progress) {
			assert.LessOrEqual(t, 0, p.Done)
			assert.LessOrEqual(t, p.Done, p.Total)
		}})
		assert.Equal(t, output == "", end.Written() == 0)
	})
}

// An invalid tree is an error. No file but the kernel is written.
func FuzzFilterTree(f *testing.F) {
	for _, entries := range [][]entry{
		{{name: "boot/vmlinuz-1", content: "kernel"}, {name: "usr/lib/os-release", content: "PRETTY_NAME=x\n"},
			{name: "var/lib/dpkg/status", content: "Package: a\nStatus: install ok installed\n"}},
		{{name: "boot/vmlinuz-a/b", content: "kernel"}, {name: "usr/lib/os-release", content: "PRETTY_NAME=x\n"},
			{name: "var/lib/dpkg/status", content: "Package: a\nStatus: install ok installed\n"}},
		{{name: "../../vmlinuz", content: "x"}, {name: "boot/vmlinuz-../x", content: "x"}},
		{{name: "dev/null", kind: tar.TypeChar}, {name: "x", kind: tar.TypeLink, link: "dev/null"}},
	} {
		f.Add(makeTar(f, entries))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// A sparse entry can stand for any size.
		for r := tar.NewReader(bytes.NewReader(b)); ; {
			hdr, err := r.Next()
			if err != nil {
				break
			}
			if hdr.Size > 1<<20 {
				return
			}
		}
		dir := t.TempDir()
		tree, err := filterTree(bytes.NewReader(b), io.Discard, dir, epoch)
		if err == nil {
			assert.NotContains(t, tree.kernelVersion, "/")
			assert.FileExists(t, filepath.Join(dir, kernelFile))
		}
		entries, err := os.ReadDir(filepath.Dir(dir))
		require.NoError(t, err)
		assert.Len(t, entries, 1)
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			assert.True(t, path == dir || d.Name() == kernelFile, path)
			return err
		})
		require.NoError(t, err)
	})
}

// Nothing is removed from an fstab, and mount points are safe to print.
func FuzzPlainFstab(f *testing.F) {
	f.Add("UUID=1 / ext4 defaults 0 1\n# x\n/dev/sda2 none swap sw\nserver:/ /home nfs")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "# not in") {
			return
		}
		plain, cut := plainFstab(text)
		assert.Equal(t, text, strings.ReplaceAll(plain, "# not in a test guest: ", ""))
		assert.Equal(t, len(cut), strings.Count(plain, "# not in a test guest: "))
		for _, mountPoint := range cut {
			assert.Equal(t, -1, strings.IndexFunc(mountPoint, unicode.IsControl), "%q", mountPoint)
		}
		again, cut := plainFstab(plain)
		assert.Equal(t, plain, again)
		assert.Empty(t, cut)
	})
}

// A program's version can stand in a manifest.
func FuzzProgramVersion(f *testing.F) {
	f.Add([]byte(programFor("amd64")))
	f.Add([]byte("libsystemd-shared-258.so"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if v := programVersion(text); v != "" {
			assertOneLine(t, v)
			assert.NotContains(t, v, " ")
		}
	})
}

// assertOneLine checks that a text is safe to print on one line.
func assertOneLine(t *testing.T, s string) {
	t.Helper()
	assert.NotEmpty(t, s)
	assert.Equal(t, -1, strings.IndexFunc(s, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }), "%q", s)
}
