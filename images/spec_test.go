package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func planOf(t *testing.T, s Spec) *plan {
	t.Helper()
	s, err := s.complete()
	require.NoError(t, err)
	p, err := newPlan(s)
	require.NoError(t, err)
	return p
}

func TestOrderAndDuplicatesDoNotMatter(t *testing.T) {
	a := planOf(t, Spec{Base: Default, Packages: []string{"rpcbind", "openssh-server", "rpcbind"}})
	b := planOf(t, Spec{Base: Default, Packages: []string{"openssh-server", "rpcbind"}})
	assert.Equal(t, a, b)
	assert.Regexp(t, `^debian-13\+[0-9a-f]{16}$`, a.name)
	assert.True(t, isAdded(a.name))
}

func TestEveryInputChangesTheImage(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key.gpg")
	require.NoError(t, os.WriteFile(key, []byte("key"), 0o600))
	source := Source{URI: "http://packages.example.org", Suite: "./", Keyring: key}
	seen := map[string]string{}
	for what, s := range map[string]Spec{
		"nothing":       {Base: "debian-13"},
		"another base":  {Base: "debian-12"},
		"a package":     {Base: "debian-13", Packages: []string{"a0"}},
		"two packages":  {Base: "debian-13", Packages: []string{"a0", "b0"}},
		"a version":     {Base: "debian-13", Packages: []string{"a0=1"}},
		"no autostart":  {Base: "debian-13", Packages: []string{"a0"}, NoAutostart: true},
		"on an old one": {Base: "debian-12", Packages: []string{"a0"}},
		"a dependency":  {Base: "debian-13", depends: []string{"a0"}},
		"a source":      {Base: "debian-13", Packages: []string{"a0"}, Sources: []Source{source}},
	} {
		p := planOf(t, s)
		assert.Empty(t, seen[p.inputs], "%s is the same as", what)
		seen[p.inputs] = what
		assert.Equal(t, s.adds(), isAdded(p.name), what)
	}
	assert.Equal(t, planOf(t, named(Default)), planOf(t, Spec{Base: Default, Packages: []string{}}))
	assert.Equal(t, planOf(t, named(Default)).inputs, planOf(t, Spec{Base: Default, NoAutostart: true}).inputs)
	assert.Equal(t, planOf(t, named(Default)).inputs, planOf(t, Spec{Base: Default, Sources: []Source{source}}).inputs, "no package comes from it")
}

func TestPackageArguments(t *testing.T) {
	for _, good := range []string{"nginx", "g++", "libc6:amd64", "nginx=1.26.3-3+deb13u1", "a0=1:2~rc1", "systemd/experimental", "0ad"} {
		_, err := Spec{Base: Default, Packages: []string{good}}.complete()
		assert.NoError(t, err, good)
	}
	for _, bad := range []string{"", "-y", "nginx-", "a b", "a,b", "?essential", "~ndbus", "./a.deb", "/a.deb", "Nginx", "nginx=", "a;b", "a$(b)", "a\nb", "a/b;c", "a=1;c"} {
		_, err := Spec{Base: Default, Packages: []string{bad}}.complete()
		assert.ErrorContains(t, err, "want NAME, NAME=VERSION or NAME/SUITE", "%q", bad)
	}
}

// Nothing is ignored that a finished image cannot have.
func TestNothingIsAddedToAFinishedImage(t *testing.T) {
	source := Source{URI: "http://packages.example.org", Suite: "./", Keyring: "key.gpg"}
	for begin, s := range map[string]Spec{
		"add packages to ":            {Packages: []string{"nginx"}, Sources: []Source{source}},
		"add package files to ":       {Debs: []string{"a.deb"}, NoAutostart: true},
		"add sources of packages to ": {Sources: []Source{source}},
		"set NoAutostart for ":        {NoAutostart: true},
	} {
		for _, base := range []string{"./dir", "mine"} {
			s.Base = base
			_, err := s.Key()
			require.ErrorAs(t, err, new(*SpecError), begin)
			assert.EqualError(t, err, begin+base+": only images that are built take that: leave it out, or use "+
				"debian-11, debian-12, debian-13, debian-14 or a recipe")
			_, err = Open(t.Context(), s, Options{Cache: t.TempDir()})
			require.ErrorAs(t, err, new(*SpecError), begin)
		}
	}
}

func TestTitle(t *testing.T) {
	assert.Equal(t, "debian-13", Manifest{Name: "debian-13"}.Title())
	m := Manifest{Name: "debian-13+0123", Base: "debian-13", Added: []string{"a", "b", "c", "d", "e", "f"}}
	assert.Equal(t, "debian-13 with a, b, c, d, 2 more", m.Title())
	assert.Len(t, m.Added, 6)
	assert.Equal(t, "f", m.Added[5])
	assert.Equal(t, "e", m.Added[4])
}

func TestAutostart(t *testing.T) {
	s := Spec{Base: Default, Packages: []string{"rpcbind", "openssh-server"}}
	include := func(s Spec) string {
		b, err := newBuilder(mustComplete(t, s), Options{}, cache{})
		require.NoError(t, err)
		return strings.Join(b.mmdebstrapArgs("/scratch"), "\n")
	}
	args := include(s)
	assert.Contains(t, args, ",linux-image-cloud-")
	assert.Contains(t, args, ",openssh-server,rpcbind\n")
	assert.NotContains(t, args, "--customize-hook")
	s.NoAutostart = true
	args = include(s)
	assert.NotContains(t, args, ",openssh-server,rpcbind\n")
	assert.Contains(t, args, "--customize-hook=")
	assert.Contains(t, args, " install openssh-server rpcbind\n")
}

func mustComplete(t *testing.T, s Spec) Spec {
	t.Helper()
	s, err := s.complete()
	require.NoError(t, err)
	return s
}
