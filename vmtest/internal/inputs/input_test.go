package inputs

import (
	"archive/zip"
	"embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

//go:embed input_test.go
var embedded embed.FS

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func nothing() error { return nil }

// Each change of a tree that a copy would show is found, and is named.
func TestChangedPath(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir string){
		"content": func(t *testing.T, dir string) { write(t, dir+"/sub/a.conf", "two") },
		"content of the same size and time": func(t *testing.T, dir string) {
			info, err := os.Stat(dir + "/sub/a.conf")
			require.NoError(t, err)
			write(t, dir+"/sub/a.conf", "eno")
			require.NoError(t, os.Chtimes(dir+"/sub/a.conf", info.ModTime(), info.ModTime()))
		},
		"mode":           func(t *testing.T, dir string) { require.NoError(t, os.Chmod(dir+"/sub/a.conf", 0o755)) },
		"directory mode": func(t *testing.T, dir string) { require.NoError(t, os.Chmod(dir+"/sub", 0o755)) },
		"new file":       func(t *testing.T, dir string) { write(t, dir+"/b", "") },
		"new directory":  func(t *testing.T, dir string) { require.NoError(t, os.Mkdir(dir+"/b", 0o700)) },
		"removed":        func(t *testing.T, dir string) { require.NoError(t, os.Remove(dir+"/sub/a.conf")) },
		"renamed":        func(t *testing.T, dir string) { require.NoError(t, os.Rename(dir+"/sub/a.conf", dir+"/sub/b.conf")) },
		"link": func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(dir+"/link"))
			require.NoError(t, os.Symlink("elsewhere", dir+"/link"))
		},
		"a file for a link": func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(dir+"/link"))
			write(t, dir+"/link", "sub/a.conf")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/sub/a.conf", "one")
			require.NoError(t, os.Symlink("sub/a.conf", dir+"/link"))
			var r Record
			require.NoError(t, r.Path(dir, nothing))
			assert.Empty(t, Sight{}.Changed(r.All()))
			change(t, dir)
			assert.Equal(t, dir+" has changed", Sight{}.Changed(r.All()))
		})
	}
}

// A change time alone is none. A rewrite with the same content is not seen.
func TestUnchangedPath(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a", "one")
	var r Record
	require.NoError(t, r.Path(dir, nothing))
	write(t, dir+"/a", "one")
	require.NoError(t, os.Chtimes(dir+"/a", time.Now(), time.Now()))
	assert.Empty(t, Sight{}.Changed(r.All()))
}

func TestPathThatIsGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a")
	var r Record
	require.NoError(t, r.Path(file, nothing))
	assert.Empty(t, Sight{}.Changed(r.All()), "it was absent and is absent")
	write(t, file, "one")
	assert.Equal(t, file+" has changed", Sight{}.Changed(r.All()))

	r = Record{}
	require.NoError(t, r.Path(file, nothing))
	require.NoError(t, os.Remove(file))
	assert.Equal(t, file+" is gone", Sight{}.Changed(r.All()))
	require.NoError(t, os.Symlink("a", file)) // to itself
	assert.Equal(t, file+" cannot be read now", Sight{}.Changed(r.All()))
}

// What changes while it is read counts as changed, even if it is as before afterwards.
func TestPathThatChangesMeanwhile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a")
	write(t, file, "one")
	var r Record
	require.NoError(t, r.Path(file, func() error {
		for before := look(file); look(file).change == before.change; { // until the clock for files ticks
			write(t, file, "two")
			write(t, file, "one")
		}
		return nil
	}))
	assert.Equal(t, file+" changed while it was read", Sight{}.Changed(r.All()))
}

// A relative path is that of the working directory at the time.
func TestRelativePath(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/units/a", "one")
	t.Chdir(dir)
	var r Record
	require.NoError(t, r.FS(os.DirFS("units"), nothing))
	t.Chdir("/")
	assert.Empty(t, Sight{}.Changed(r.All()))
	assert.Equal(t, dir+"/units", r.All()[0].Name)
}

func TestFailedUse(t *testing.T) {
	var r Record
	bad := errors.New("bad")
	assert.ErrorIs(t, r.Path(t.TempDir(), func() error { return bad }), bad)
	assert.ErrorIs(t, r.FS(&zip.Reader{}, func() error { return bad }), bad)
	var none *Record
	assert.ErrorIs(t, none.Path("/", func() error { return bad }), bad)
	assert.ErrorIs(t, none.FS(&zip.Reader{}, func() error { return bad }), bad)
	none.Add(Input{})
}

func TestEnv(t *testing.T) {
	const name = "VMTEST_INPUT_TEST"
	t.Setenv(name, "")
	var r Record
	assert.Equal(t, "", r.Env(name))
	assert.Empty(t, Sight{}.Changed(r.All()))
	require.NoError(t, os.Unsetenv(name))
	assert.Equal(t, "$"+name+" is not set now", Sight{}.Changed(r.All()))
	t.Setenv(name, "secret")
	assert.Equal(t, "$"+name+" has changed", Sight{}.Changed(r.All()))
	r = Record{}
	assert.Equal(t, "secret", r.Env(name))
	assert.NotContains(t, r.All()[0].Digest, "secret")
	var none *Record
	assert.Equal(t, "secret", none.Env(name))
}

func TestGivenAndPrograms(t *testing.T) {
	list := []Input{
		{Kind: Given, Name: "the image", Digest: "1"},
		{Kind: Program, Name: "./a", Dir: "/d", Digest: "2"},
		{Kind: Program, Name: "./b", Dir: "/d", Digest: "3"},
	}
	now := map[string]string{"./a": "2", "./b": "3"}
	s := Sight{
		Given: map[string]string{"the image": "1"},
		Program: func(in Input) (string, error) {
			assert.Equal(t, "/d", in.Dir)
			if now[in.Name] == "" {
				return "", errors.New("no go command")
			}
			return now[in.Name], nil
		},
	}
	assert.Empty(t, s.Changed(list))
	now = map[string]string{"./a": "2", "./b": "4"}
	assert.Equal(t, "program ./b has changed", s.Changed(list))
	now = nil
	assert.Equal(t, "program ./a cannot be built now", s.Changed(list))
	s.Given = nil
	assert.Equal(t, "the image has changed", s.Changed(list))
}

// Each kind of file system is either one whose changes are found, or data of the program,
// or unseen.
func TestFileSystems(t *testing.T) {
	sub := func(fsys fs.FS, dir string) fs.FS {
		s, err := fs.Sub(fsys, dir)
		require.NoError(t, err)
		return s
	}
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	for _, test := range []struct {
		name string
		fsys fs.FS
		want []Input
	}{
		{"DirFS", os.DirFS(dir), []Input{{Kind: Path, Name: dir}}},
		{"Sub of DirFS", sub(os.DirFS(dir), "a"), []Input{{Kind: Path, Name: dir + "/a"}}},
		{"Sub of Sub", sub(sub(os.DirFS(dir), "a"), "b"), []Input{{Kind: Path, Name: dir + "/a/b"}}},
		{"embed", embedded, nil},
		{"Sub of embed", sub(embedded, "."), nil},
		{"Sub of embed, below", sub(&embedded, "a"), nil},
		{"MapFS", fstest.MapFS{}, nil},
		{"Sub of MapFS", sub(fstest.MapFS{}, "a"), nil},
		{"zip", &zip.Reader{}, []Input{{Kind: Unseen, Name: "a *zip.Reader"}}},
		{"Sub of zip", sub(&zip.Reader{}, "a"), []Input{{Kind: Unseen, Name: "a *fs.subFS"}}},
		{"os.Root", root.FS(), []Input{{Kind: Unseen, Name: "a *os.rootFS"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r Record
			require.NoError(t, r.FS(test.fsys, nothing))
			got := r.All()
			for i := range got {
				got[i].Digest = ""
			}
			assert.Equal(t, test.want, got)
			for _, in := range r.All() {
				if in.Kind == Unseen {
					assert.Equal(t, in.Name+" cannot be compared", Sight{}.Changed(r.All()))
				}
			}
		})
	}
}

// Two copies of a file that changed in between cannot both match.
func TestPathRecordedTwice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a")
	write(t, file, "one")
	var r Record
	require.NoError(t, r.Path(file, nothing))
	require.NoError(t, r.Path(file, nothing))
	assert.Len(t, r.All(), 1)
	write(t, file, "two")
	require.NoError(t, r.Path(file, nothing))
	assert.Len(t, r.All(), 2)
	assert.Equal(t, file+" has changed", Sight{}.Changed(r.All()))
}
