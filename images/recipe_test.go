package images

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecipeFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ubuntu.json")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.gpg"), []byte("key a"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b.asc"), []byte("key b"), 0o600))
	require.NoError(t, os.WriteFile(path, []byte(`{
		"name": "ubuntu-24.04", "suite": "noble", "mirror": "http://archive.example.org/ubuntu",
		"components": ["main", "universe"], "keyring": "a.gpg", "kernel": "linux-image-virtual",
		"sources": [{"uri": "http://archive.example.org/ubuntu", "suite": "noble-updates", "components": ["main"], "keyring": "b.asc"}]
	}`), 0o600))
	p := planOf(t, Spec{Base: path, Packages: []string{"rpcbind"}})
	assert.Regexp(t, `^ubuntu-24\.04\+[0-9a-f]{16}$`, p.name)
	assert.Equal(t, [][]byte{[]byte("key b"), []byte("key a")}, p.keys)
	assert.Equal(t, "ubuntu-24.04 with rpcbind", p.spec.label())
	args := (&builder{plan: p, mirror: "http://mirror.example.org/debian"}).mmdebstrapArgs("/scratch")
	assert.Contains(t, args, "--components=main,universe")
	assert.Contains(t, args, "--keyring=/scratch/key1.gpg")
	assert.Contains(t, args, sourceHook)
	assert.Contains(t, args[4], ",linux-image-virtual,rpcbind")
	assert.Equal(t, []string{"noble", "-", "http://archive.example.org/ubuntu"}, args[len(args)-3:])

	// The same by a call.
	recipe := *p.spec.Recipe
	assert.Equal(t, p, planOf(t, Spec{Recipe: &recipe, Packages: []string{"rpcbind"}}))
	// Another key, another image; so for a mirror, such as another day's snapshot.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b.asc"), []byte("key c"), 0o600))
	seen := map[string]bool{p.inputs: true, planOf(t, Spec{Recipe: &recipe, Packages: []string{"rpcbind"}}).inputs: true}
	recipe.Mirror += "-20250601"
	seen[planOf(t, Spec{Recipe: &recipe, Packages: []string{"rpcbind"}}).inputs] = true
	recipe.Sources = nil
	seen[planOf(t, Spec{Recipe: &recipe, Packages: []string{"rpcbind"}}).inputs] = true
	assert.Len(t, seen, 4)
	assert.Equal(t, []string{"debian-11", "debian-12", "debian-13", "debian-14"}, Names())

	// A recipe of a known name is not the image of that name.
	assert.NotEqual(t, Default, planOf(t, Spec{Recipe: &Recipe{Name: Default, Suite: "trixie"}}).name)
}

func TestBadRecipe(t *testing.T) {
	for text, want := range map[string]string{
		``:                                 "EOF",
		`{`:                                "unexpected EOF",
		`{"name": "a", "suite": "sid"} {}`: "more after the recipe's closing brace",
		`{"name": "a", "suite": "sid", "Suit": "x"}`:                                      `unknown field "Suit"`,
		`{"name": "a", "suite": 3}`:                                                       "number",
		`{"suite": "sid"}`:                                                                `name ""`,
		`{"name": "../a", "suite": "sid"}`:                                                `name "../a"`,
		`{"name": "a+b", "suite": "sid"}`:                                                 `name "a+b"`,
		`{"name": "a"}`:                                                                   `suite ""`,
		`{"name": "a", "suite": "-x"}`:                                                    `suite "-x"`,
		`{"name": "a", "suite": "sid", "kernel": "a b"}`:                                  `kernel "a b"`,
		`{"name": "a", "suite": "sid", "mirror": "mirror.example.org"}`:                   "want a URI",
		`{"name": "a", "suite": "sid", "mirror": "http://a/b [trusted=yes]"}`:             "want a URI",
		`{"name": "a", "suite": "sid", "mirror": "https://me:secret@a.org/b"}`:            "the URI has a login",
		`{"name": "a", "suite": "sid", "components": ["main", "a b"]}`:                    `component "a b"`,
		`{"name": "a", "suite": "sid", "sources": [{"uri": "http://a/"}]}`:                `source http://a/: suite ""`,
		`{"name": "a", "suite": "sid", "sources": [{"suite": "./"}]}`:                     "source: \"\": want a URI",
		`{"name": "a", "suite": "sid", "keyring": "missing.gpg"}`:                         "missing.gpg: no such file or directory",
		`{"name": "a", "suite": "sid", "sources": [{"uri": "http://a/", "suite": "./"}]}`: "want a keyring",
	} {
		path := filepath.Join(t.TempDir(), "a.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := Spec{Base: path}.Key()
		require.ErrorAs(t, err, new(*SpecError), text)
		assert.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), "secret")
		assert.NotContains(t, err.Error(), "\n")
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	_, err := Spec{Base: fifo}.Key()
	assert.ErrorContains(t, err, "is not a regular file")
	_, err = Spec{Base: Default, Recipe: &Recipe{Name: "a", Suite: "sid"}}.Key()
	assert.EqualError(t, err, `describe image: base "debian-13" and recipe "a": want one of them`)
	_, err = Spec{Recipe: &Recipe{Name: "a"}}.Key()
	assert.ErrorContains(t, err, `describe image: recipe: suite ""`)
}

func FuzzParseRecipe(f *testing.F) {
	f.Add([]byte(`{"name": "sid", "suite": "sid", "sources": [{"uri": "http://a/", "suite": "./", "keyring": "k"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRecipe(b); err == nil {
			assert.NotContains(t, r.Name, "/")
			text, err := json.Marshal(r)
			assert.NoError(t, err)
			again, err := parseRecipe(text)
			assert.NoError(t, err)
			assert.Equal(t, r, again)
		}
	})
}
