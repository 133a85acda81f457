package rootfs

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The examples of layer.md in the OCI image specification, and their corners.
func TestLayers(t *testing.T) {
	lower := makeTar(t, dir("etc"), file("etc/my-app-config", "old"), file("etc/passwd", "root"), dir("bin"), file("bin/my-app", "v1"),
		dir("bin/tools"), file("bin/tools/one", "1"))
	for name, tc := range map[string]struct {
		upper []byte
		want  []string
	}{
		"removed and replaced": {makeTar(t, file("etc/.wh.my-app-config", ""), file("bin/my-app", "v2"), dir("etc/my-app.d"), file("etc/my-app.d/default.cfg", "new")),
			[]string{"./bin/", "./bin/my-app = v2", "./bin/tools/", "./bin/tools/one = 1", "./etc/", "./etc/my-app.d/", "./etc/my-app.d/default.cfg = new", "./etc/passwd = root"}},
		"a directory is removed": {makeTar(t, file(".wh.bin", "")),
			[]string{"./etc/", "./etc/my-app-config = old", "./etc/passwd = root"}},
		"opaque, before its siblings": {makeTar(t, file("bin/.wh..wh..opq", ""), file("bin/tools/two", "2")),
			[]string{"./bin/", "./bin/tools/", "./bin/tools/two = 2", "./etc/", "./etc/my-app-config = old", "./etc/passwd = root"}},
		"opaque, after its siblings": {makeTar(t, file("bin/tools/two", "2"), file("bin/my-app", "v2"), file("bin/.wh..wh..opq", "")),
			[]string{"./bin/", "./bin/my-app = v2", "./bin/tools/", "./bin/tools/two = 2", "./etc/", "./etc/my-app-config = old", "./etc/passwd = root"}},
		"a whiteout leaves what its own layer adds": {makeTar(t, file("bin/my-app", "v2"), file("bin/.wh.my-app", "")),
			[]string{"./bin/", "./bin/my-app = v2", "./bin/tools/", "./bin/tools/one = 1", "./etc/", "./etc/my-app-config = old", "./etc/passwd = root"}},
		"a directory becomes a link": {makeTar(t, symlink("bin", "usr/bin"), file("usr/bin/my-app", "v3")),
			[]string{"./bin -> usr/bin", "./etc/", "./etc/my-app-config = old", "./etc/passwd = root", "./usr/", "./usr/bin/", "./usr/bin/my-app = v3"}},
		"a hard link to a lower layer": {makeTar(t, hardlink("bin/app", "bin/my-app"), file("bin/.wh.tools", "")),
			[]string{"./bin/", "./bin/app = v1", "./bin/my-app == ./bin/app", "./etc/", "./etc/my-app-config = old", "./etc/passwd = root"}},
		"whiteouts of nothing": {makeTar(t, file(".wh.none", ""), file("no/.wh.none", ""), file("bin/.wh..wh.plnk", ""), file("etc/passwd/.wh.x", "")),
			[]string{"./bin/", "./bin/my-app = v1", "./bin/tools/", "./bin/tools/one = 1", "./etc/", "./etc/my-app-config = old", "./etc/passwd = root"}},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := addLayers(t, lower, tc.upper)
			require.NoError(t, err)
			assert.Equal(t, tc.want, listing(t, tree))
		})
	}
	_, err := addLayers(t, lower, makeTar(t, file("../.wh.etc", "")))
	assert.ErrorContains(t, err, "the path leads out of the tree")
}

// A whiteout's name is an ordinary one outside of layers.
func TestTarHasNoWhiteouts(t *testing.T) {
	tree := newTree(t)
	require.NoError(t, tree.addCompressed(t.Context(), reader(makeTar(t, file("a", "1"), file(".wh.a", "2"))), false, nil))
	assert.Equal(t, []string{"./.wh.a = 2", "./a = 1"}, listing(t, tree))
}
