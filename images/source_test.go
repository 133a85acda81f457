package images

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSourceFiles(t *testing.T) {
	dir := t.TempDir()
	key, login := filepath.Join(dir, "key.asc"), filepath.Join(dir, "login")
	require.NoError(t, os.WriteFile(key, []byte("key"), 0o600))
	require.NoError(t, os.WriteFile(login, []byte("machine b.example.org login you password hidden"), 0o600))
	t.Setenv("DEB_LOGIN", "me:secret")
	s := Spec{Base: Default, Packages: []string{"demo"}, Sources: []Source{
		{URI: "https://a.example.org/deb", Suite: "trixie", Components: []string{"main", "extra"}, Keyring: key, AuthEnv: "DEB_LOGIN"},
		{URI: "file:///srv/deb", Suite: "./", Keyring: key, AuthFile: login},
	}}
	p := planOf(t, s)
	scratch := t.TempDir()
	f, err := p.writeSources(scratch)
	require.NoError(t, err)
	list, err := os.ReadFile(filepath.Join(f.dir, "sources.list"))
	require.NoError(t, err)
	assert.Equal(t, "deb [signed-by="+f.dir+"/key0.asc] https://a.example.org/deb trixie main extra\n"+
		"deb [signed-by="+f.dir+"/key1.asc] copy:///srv/deb ./ \n", string(list))
	logins, err := f.logins()
	require.NoError(t, err)
	b, err := io.ReadAll(logins)
	require.NoError(t, err)
	assert.Equal(t, "machine https://a.example.org/deb login me password secret\n"+
		"machine b.example.org login you password hidden\n", string(b))
	// Only the pipe has the logins.
	err = filepath.WalkDir(scratch, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.NotRegexp(t, "secret|hidden", string(text), path)
		}
		return err
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"A=b", "DEB_LOGINS=x"}, p.withoutLogins([]string{"A=b", "DEB_LOGIN=me:secret", "DEB_LOGINS=x"}))

	// Another login is the same image.
	t.Setenv("DEB_LOGIN", "me:other")
	require.NoError(t, os.WriteFile(login, []byte("machine b.example.org login you password other"), 0o600))
	assert.Equal(t, p.inputs, planOf(t, s).inputs)

	t.Setenv("DEB_LOGIN", "secret")
	_, err = p.writeSources(t.TempDir())
	assert.EqualError(t, err, "source https://a.example.org/deb: the variable DEB_LOGIN of the environment is not USER:PASSWORD without spaces")
	t.Setenv("DEB_LOGIN", "me:secret")
	require.NoError(t, os.Remove(login))
	_, err = p.writeSources(t.TempDir())
	assert.ErrorContains(t, err, "source file:///srv/deb: read login: ")
}

func TestBadSource(t *testing.T) {
	good := Source{URI: "https://a.example.org/deb", Suite: "trixie", Components: []string{"main"}, Keyring: "/key.gpg"}
	require.NoError(t, good.check())
	for want, spoil := range map[string]func(*Source){
		"want a keyring":       func(s *Source) { s.Keyring = "" },
		"want components":      func(s *Source) { s.Components = nil },
		"not both":             func(s *Source) { s.AuthEnv, s.AuthFile = "A", "b" },
		"the URI has a login":  func(s *Source) { s.URI = "https://me:secret@a.example.org/deb" },
		"cannot be parsed":     func(s *Source) { s.URI = "https://me:secret@a b%/" },
		"want a URI":           func(s *Source) { s.URI = "https://a.example.org/deb [trusted=yes]" },
		`component "x [y"`:     func(s *Source) { s.Components = []string{"x [y"} },
		"or a suite that ends": func(s *Source) { s.Suite = "./" },
		`suite "a b": want a`:  func(s *Source) { s.Suite = "a b" },
	} {
		s := good
		spoil(&s)
		_, err := Spec{Base: Default, Sources: []Source{s}}.complete()
		require.ErrorAs(t, err, new(*SpecError), want)
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "secret")
	}
}
