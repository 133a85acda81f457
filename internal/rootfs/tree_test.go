package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// entry is one entry of a made-up archive.
type entry struct {
	name, content, link string
	kind                byte
	mode                int64
	uid                 int
	major, minor        int64
	xattrs              map[string]string
}

func makeTar(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		if e.mode == 0 {
			e.mode = 0o644
		}
		require.NoError(t, w.WriteHeader(&tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode, Uid: e.uid,
			Size: int64(len(e.content)), Devmajor: e.major, Devminor: e.minor, PAXRecords: e.xattrs, Format: tar.FormatPAX}))
		_, err := io.WriteString(w, e.content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func dir(name string) entry           { return entry{name: name, kind: tar.TypeDir, mode: 0o755} }
func symlink(name, to string) entry   { return entry{name: name, kind: tar.TypeSymlink, link: to} }
func hardlink(name, to string) entry  { return entry{name: name, kind: tar.TypeLink, link: to} }
func file(name, content string) entry { return entry{name: name, content: content} }

const testMax = 1 << 20

func newTree(t testing.TB) *Tree {
	t.Helper()
	tree, err := New(t.TempDir(), testMax)
	require.NoError(t, err)
	t.Cleanup(tree.Close)
	return tree
}

// addLayers adds archives one over the other.
func addLayers(t testing.TB, layers ...[]byte) (*Tree, error) {
	t.Helper()
	tree := newTree(t)
	for _, layer := range layers {
		if err := tree.addTar(t.Context(), bytes.NewReader(layer), true); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

// listing returns what WriteTar writes of a tree, a line for each entry.
func listing(t testing.TB, tree *Tree) []string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, tree.WriteTar(t.Context(), &b))
	var lines []string
	for r := tar.NewReader(&b); ; {
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		line := hdr.Name
		switch hdr.Typeflag {
		case tar.TypeReg:
			line += " = " + string(content)
		case tar.TypeSymlink:
			line += " -> " + hdr.Linkname
		case tar.TypeLink:
			line += " == " + hdr.Linkname
		case tar.TypeChar, tar.TypeBlock:
			line += fmt.Sprintf(" %c %d:%d", hdr.Typeflag, hdr.Devmajor, hdr.Devminor)
		}
		lines = append(lines, line)
	}
}

func TestWriteTarKeepsWhatTheSourceHas(t *testing.T) {
	tree, err := addLayers(t, makeTar(t,
		entry{name: "./usr/bin/su", content: "su", mode: 0o4755, xattrs: map[string]string{
			"SCHILY.xattr.security.capability": "cap", "SCHILY.xattr.trusted.overlay.opaque": "y"}},
		entry{name: "var/mail", kind: tar.TypeDir, mode: 0o2775, uid: 8},
		entry{name: "opt/null", kind: tar.TypeChar, major: 1, minor: 3},
		entry{name: "opt/disk", kind: tar.TypeBlock, major: 8, minor: 1},
		entry{name: "opt/pipe", kind: tar.TypeFifo},
		hardlink("usr/bin/sudo", "./usr/bin/su"),
		symlink("usr/bin/doas", "su"),
	))
	require.NoError(t, err)
	assert.Equal(t, []string{"./opt/", "./opt/disk 4 8:1", "./opt/null 3 1:3", "./opt/pipe", "./usr/", "./usr/bin/", "./usr/bin/doas -> su",
		"./usr/bin/su = su", "./usr/bin/sudo == ./usr/bin/su", "./var/", "./var/mail/"}, listing(t, tree))
	var b bytes.Buffer
	require.NoError(t, tree.WriteTar(t.Context(), &b))
	for r := tar.NewReader(&b); ; {
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		switch hdr.Name {
		case "./usr/bin/su":
			assert.EqualValues(t, 0o4755, hdr.Mode)
			assert.Equal(t, map[string]string{"SCHILY.xattr.security.capability": "cap"}, hdr.PAXRecords)
		case "./var/mail/":
			assert.EqualValues(t, 0o2775, hdr.Mode)
			assert.Equal(t, 8, hdr.Uid)
		}
	}
}

// Links on the way lead to places in the tree, also if they name places of the host.
func TestPathsStayInTheTree(t *testing.T) {
	tree, err := addLayers(t, makeTar(t,
		dir("usr/bin"), symlink("bin", "usr/bin"), file("bin/cat", "cat"),
		symlink("usr/abs", "/etc"), file("usr/abs/passwd", "root"),
		symlink("up", "../../../.."), file("up/top", "top"),
		file("/rooted", "x"), file("sub//./deep", "y"),
		symlink("dangling", "/var/lib/x"), file("dangling/f", "z"),
	))
	require.NoError(t, err)
	assert.Equal(t, []string{"./bin -> usr/bin", "./dangling -> /var/lib/x", "./etc/", "./etc/passwd = root", "./rooted = x", "./sub/",
		"./sub/deep = y", "./top = top", "./up -> ../../../..", "./usr/", "./usr/abs -> /etc", "./usr/bin/", "./usr/bin/cat = cat",
		"./var/", "./var/lib/", "./var/lib/x/", "./var/lib/x/f = z"}, listing(t, tree), "files, where links lead in the tree")
}

func TestBadEntries(t *testing.T) {
	deep := strings.Repeat("d/", 2000)
	for name, tc := range map[string]struct {
		entries []entry
		want    string
	}{
		"..":                 {[]entry{file("../etc/passwd", "x")}, `bad entry "../etc/passwd": the path leads out of the tree`},
		".. inside":          {[]entry{file("usr/../../etc/passwd", "x")}, `bad entry "usr/../../etc/passwd": the path leads out of the tree`},
		"absolute and ..":    {[]entry{file("/../etc/passwd", "x")}, `bad entry "/../etc/passwd": the path leads out of the tree`},
		"hard link out":      {[]entry{hardlink("shadow", "../../etc/shadow")}, `bad entry "shadow": hard link to "../../etc/shadow": the path leads out of the tree`},
		"absolute hard link": {[]entry{hardlink("shadow", "/etc/shadow")}, `bad entry "shadow": hard link to "/etc/shadow" in the tree: file does not exist`},
		"hard link through a symbolic one": {[]entry{symlink("host", "/"), hardlink("shadow", "host/etc/shadow")},
			`bad entry "shadow": hard link to "host/etc/shadow" in the tree: file does not exist`},
		"hard link to a directory": {[]entry{dir("etc"), hardlink("x", "etc")}, `bad entry "x": hard link to "etc" in the tree: a directory`},
		"a circle of links":        {[]entry{symlink("a", "b"), symlink("b", "a"), file("a/x", "")}, `bad entry "a/x": "a/x": too many levels of symbolic links`},
		"a file as a directory":    {[]entry{file("a", ""), file("a/b", "")}, `bad entry "a/b": /a: not a directory`},
		"long name":                {[]entry{file(strings.Repeat("n", 256), "")}, "a name of more than 255 bytes"},
		"long path":                {[]entry{file(strings.Repeat("name/", 1000)+"x", "")}, "a path of more than 4096 bytes"},
		"deep through a link":      {[]entry{dir(deep), symlink("s", deep), dir("s/" + deep)}, "a path of more than 4096 bytes"},
		"uid":                      {[]entry{{name: "a", uid: -1}}, `no user or group can be -1:0`},
		"unknown type":             {[]entry{{name: "a", kind: 'Z'}}, `its type 'Z' is not known`},
		"too large":                {[]entry{file("a", "x"), file("b", strings.Repeat("x", testMax))}, `"b" has 0.0 GB, and the whole may have 0.0 GB`},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := addLayers(t, makeTar(t, tc.entries...))
			if err == nil {
				err = tree.WriteTar(t.Context(), io.Discard)
			}
			require.ErrorAs(t, err, new(*Error))
			assert.ErrorContains(t, err, tc.want)
		})
	}
}

func TestEntriesAreBounded(t *testing.T) {
	tree := newTree(t)
	tree.entries = maxEntries - 2
	err := tree.add(&tar.Header{Name: "a/b/c", Typeflag: tar.TypeDir}, nil)
	assert.ErrorContains(t, err, "more than 2097152 entries", "the directories on the way count, too")
}

func TestWriteTarEndsWithItsContext(t *testing.T) {
	tree, err := addLayers(t, makeTar(t, file("a", "x")))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, tree.WriteTar(ctx, io.Discard), context.Canceled)
}

func TestLookup(t *testing.T) {
	tree, err := addLayers(t, makeTar(t, file("usr/lib/systemd/systemd", "x"), symlink("lib", "usr/lib"),
		symlink("sbin", "/usr/sbin"), symlink("usr/sbin/init", "../lib/systemd/systemd")))
	require.NoError(t, err)
	_, found, err := tree.Lookup("/sbin/init")
	require.NoError(t, err)
	assert.Equal(t, "usr/lib/systemd/systemd", found)
	assert.True(t, tree.IsLink("sbin/init"))
	assert.False(t, tree.IsLink("usr/lib"))
	_, _, err = tree.Lookup("usr/bin")
	assert.EqualError(t, err, "find usr/bin: file does not exist")

	tree.Remove("sbin/none")
	tree.Remove("no/sbin")
	tree.Remove("sbin/init")
	assert.False(t, tree.IsLink("usr/sbin/init"))
	assert.True(t, tree.Has("usr/lib/systemd/systemd"))
	require.NoError(t, tree.EmptyDir("lib"), "a link")
	assert.False(t, tree.Has("lib/systemd"))
	assert.True(t, tree.Has("usr/lib/systemd"))
	require.NoError(t, tree.EmptyDir("usr/lib"))
	assert.False(t, tree.Has("usr/lib/systemd"))
}
