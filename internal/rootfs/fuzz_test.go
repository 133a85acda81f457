package rootfs

import (
	"archive/tar"
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An archive is an error, or a tree whose paths are all in it.
func FuzzRead(f *testing.F) {
	f.Add(makeTar(f, dir("usr"), symlink("bin", "usr"), file("bin/x", "1"), hardlink("y", "bin/x"), file("usr/.wh.x", "")))
	f.Add(makeTar(f, symlink("a", "/b"), symlink("b", "../a"), file("a/../x", "1")))
	f.Add(makeTar(f, twoLayers(f).docker(f)...))
	f.Add(makeTar(f, asEntries(oci(f, twoLayers(f)))...))
	f.Add(compressed(f, ".zst", makeTar(f, file("a", "b"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, isLayer := range []bool{false, true} {
			tree, err := New(t.TempDir(), testMax)
			require.NoError(t, err)
			defer tree.Close()
			if tree.addCompressed(t.Context(), reader(b), isLayer, nil) != nil {
				continue
			}
			if isContainer(tree) {
				if inner, err := readContainer(t.Context(), tree, Options{Dir: t.TempDir(), Max: testMax, Arch: "amd64"}); err == nil {
					inner.Close()
				}
			}
			var out bytes.Buffer
			if tree.WriteTar(t.Context(), &out) != nil {
				continue
			}
			seen := map[string]bool{}
			for r := tar.NewReader(&out); ; {
				hdr, err := r.Next()
				if err == io.EOF {
					break
				}
				require.NoError(t, err)
				name := strings.TrimSuffix(hdr.Name, "/")
				assert.True(t, filepath.IsLocal(name) && name != "./", "%q", hdr.Name)
				assert.False(t, seen[name], "%q twice", hdr.Name)
				seen[name] = true
				if hdr.Typeflag == tar.TypeLink {
					assert.True(t, seen[hdr.Linkname], "%q links to %q", name, hdr.Linkname)
				}
			}
		}
	})
}
