package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/lack"
)

func needDpkg(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		lack.Skip(t, "no dpkg-deb here, which images of package files need: install dpkg")
	}
}

func TestDebsAreKnownByContent(t *testing.T) {
	dir := t.TempDir()
	a, b, link := filepath.Join(dir, "a.deb"), filepath.Join(dir, "b.deb"), filepath.Join(dir, "link.deb")
	require.NoError(t, os.WriteFile(a, []byte("one"), 0o600))
	require.NoError(t, os.WriteFile(b, []byte("two"), 0o600))
	require.NoError(t, os.Symlink(a, link))
	with := func(debs ...string) *plan { return planOf(t, Spec{Base: Default, Debs: debs}) }
	first := with(a, b)
	assert.Equal(t, first.name, with(b, a, link).name, "order, duplicates and paths do not matter")
	assert.NotEqual(t, first.name, with(a).name)
	assert.Equal(t, "debian-13 with a.deb, b.deb", first.spec.label())

	require.NoError(t, os.WriteFile(b, []byte("newer"), 0o600))
	assert.NotEqual(t, first.name, with(a, b).name, "a new content is another image")
	require.NoError(t, os.WriteFile(b, []byte("two"), 0o600))
	assert.Equal(t, first.name, with(a, b).name)
	scratch := t.TempDir()
	require.NoError(t, first.debs[0].copyTo(filepath.Join(scratch, "0.deb")))
	require.NoError(t, flipKeepingTimes(first.debs[1].path))
	assert.ErrorContains(t, first.debs[1].copyTo(filepath.Join(scratch, "1.deb")), "it was changed while the image was built")

	for _, bad := range []string{dir, filepath.Join(dir, "none.deb"), ""} {
		_, err := Spec{Base: Default, Debs: []string{bad}}.Key()
		require.ErrorAs(t, err, new(*SpecError))
		assert.ErrorContains(t, err, "add package file "+bad+": ")
	}
	_, err := Spec{Base: dir + "/", Debs: []string{a}}.Key()
	assert.ErrorContains(t, err, "add package files to "+dir)
}

func TestReadControl(t *testing.T) {
	needDpkg(t)
	dir := t.TempDir()
	path := testDeb{name: "demo", version: "2:1.0~rc1-1", depends: "libc6 (>= 2.34), a | b:any (<< 3)"}.make(t, dir)
	c, err := readControl(t.Context(), path, "./demo.deb")
	require.NoError(t, err)
	assert.Equal(t, control{name: "demo", version: "2:1.0~rc1-1", arch: "all", depends: []string{"libc6 (>= 2.34)", "a | b:any (<< 3)"}}, c)

	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	foreign := testDeb{name: "foreign", arch: other}.make(t, dir)
	_, err = readControl(t.Context(), foreign, "./foreign.deb")
	require.ErrorAs(t, err, new(*BuildError))
	assert.EqualError(t, err, "run dpkg-deb: package file ./foreign.deb: foreign is for "+other+", and guests are "+runtime.GOARCH)

	endless := testDeb{name: "endless", depends: strings.Repeat("a (>= 1), ", controlLimit/10) + "a"}.make(t, dir)
	_, err = readControl(t.Context(), endless, "./endless.deb")
	assert.EqualError(t, err, "run dpkg-deb: package file ./endless.deb: its fields have more than 1048576 bytes")

	require.NoError(t, os.Truncate(path, 100))
	_, err = readControl(t.Context(), path, "./demo.deb")
	require.ErrorAs(t, err, new(*BuildError))
	assert.Regexp(t, `^run dpkg-deb: package file \./demo\.deb: .*(unexpected end|corrupted|not a Debian)`, err.Error())
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("<html>\n", 100)), 0o600))
	_, err = readControl(t.Context(), path, "./demo.deb")
	assert.EqualError(t, err, "run dpkg-deb: package file ./demo.deb: './demo.deb' is not a Debian format archive")
}

func TestMissingDependencies(t *testing.T) {
	needDpkg(t)
	installed := []Package{{"libc6", "2.41-12", "amd64"}, {"systemd", "257.1", "amd64"}}
	for depends, want := range map[string][]string{
		"libc6":                        nil,
		"libc6 (>= 2.34)":              nil,
		"libc6 (>= 2.42)":              {"libc6 (>= 2.42)"},
		"libc6:any, systemd(>=250)":    nil,
		"nginx, nginx, apache2 | lynx": {"apache2 | lynx", "nginx"},
		"nginx | systemd":              nil,
		"other (= 1.0), served":        nil, // other comes along
		"libc6 [amd64]":                {"libc6 [amd64]"},
	} {
		list := []control{{name: "demo", depends: splitList(depends)}, {name: "other", provides: []string{"served"}}}
		assert.Equal(t, want, missing(t.Context(), list, installed), depends)
	}
}

func FuzzParseControl(f *testing.F) {
	f.Add("Package: demo\nVersion: 1\nArchitecture: all\nDepends: a (>= 1),\n b | c\nProvides: d (= 1)\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseControl(text)
		if c.check() != "" {
			return
		}
		for _, d := range c.depends {
			assert.NotContains(t, d, "'") // it is quoted in a hook
			assert.NotContains(t, d, "\n")
		}
	})
}
