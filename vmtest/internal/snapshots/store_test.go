package snapshots

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	keyA = "aaaaaaaaaaaaaaaaaaaaaaaa"
	keyB = "bbbbbbbbbbbbbbbbbbbbbbbb"
	keyC = "cccccccccccccccccccccccc"
)

func newStore(t *testing.T) *Store {
	t.Setenv("VMTEST_CACHE", filepath.Join(t.TempDir(), "a [directory] named*, so"))
	s, err := OpenCached()
	require.NoError(t, err)
	return s
}

// fillWith returns a make that writes text into each file.
func fillWith(text string) func(*Files) error {
	return func(f *Files) error {
		if err := f.RAM.Truncate(1 << 20); err != nil {
			return err
		}
		if _, err := f.RAM.WriteAt([]byte("ram "+text), 4096); err != nil {
			return err
		}
		if _, err := f.State.WriteString("state " + text); err != nil {
			return err
		}
		_, err := f.Moment.WriteString("moment " + text)
		return err
	}
}

// open opens a snapshot and closes it when the test ends. It returns the last notice,
// and whether the snapshot was made.
func open(t *testing.T, s *Store, key, text string) (files *Files, notice string, made bool) {
	files, err := s.Open(t.Context(), Info{Key: key, Image: "debian"},
		func(n string) { notice = n },
		func(f *Files) error { made = true; return fillWith(text)(f) })
	require.NoError(t, err)
	t.Cleanup(func() { files.Close() })
	return files, notice, made
}

func content(t *testing.T, f *Files) string {
	state, err := os.ReadFile(f.State.Name())
	require.NoError(t, err)
	return string(state)
}

func TestASnapshotIsMadeOnce(t *testing.T) {
	s := newStore(t)
	f, notice, made := open(t, s, keyA, "one")
	assert.True(t, made)
	assert.Empty(t, notice)
	assert.Equal(t, "state one", content(t, f))
	f, notice, made = open(t, s, keyA, "two")
	assert.False(t, made)
	assert.Empty(t, notice)
	assert.Equal(t, "state one", content(t, f))
}

func TestNobodyElseMayRead(t *testing.T) {
	s := newStore(t)
	open(t, s, keyA, "one")
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		assert.Equal(t, want, info.Mode().Perm(), path)
		return nil
	})
	require.NoError(t, err)
}

func TestADamagedSnapshotIsMadeAgain(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, s *Store, dir string){
		"memory truncated": func(t *testing.T, _ *Store, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "ram"), 1<<19))
		},
		"byte of memory flipped": func(t *testing.T, _ *Store, dir string) { flip(t, filepath.Join(dir, "ram"), 4096) },
		"state truncated": func(t *testing.T, _ *Store, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "state"), 3))
		},
		"byte of state flipped":  func(t *testing.T, _ *Store, dir string) { flip(t, filepath.Join(dir, "state"), 2) },
		"byte of moment flipped": func(t *testing.T, _ *Store, dir string) { flip(t, filepath.Join(dir, "moment"), 2) },
		"moment gone": func(t *testing.T, _ *Store, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "moment")))
		},
		"state gone":  func(t *testing.T, _ *Store, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "state"))) },
		"memory gone": func(t *testing.T, _ *Store, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "ram"))) },
		"description gone": func(t *testing.T, _ *Store, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "snapshot.json")))
		},
		"description torn": func(t *testing.T, _ *Store, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "snapshot.json"), 20))
		},
		"another one in its place": func(t *testing.T, s *Store, dir string) {
			other, _, _ := open(t, s, keyB, "other")
			other.Close()
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.Rename(filepath.Join(s.dir, keyB), dir))
		},
		"byte of memory flipped, time put back": func(t *testing.T, _ *Store, dir string) {
			keepTime(t, filepath.Join(dir, "ram"), func(path string) { flip(t, path, 4096) })
		},
		"byte of state flipped, time put back": func(t *testing.T, _ *Store, dir string) {
			keepTime(t, filepath.Join(dir, "state"), func(path string) { flip(t, path, 2) })
		},
		"memory replaced by a copy": func(t *testing.T, _ *Store, dir string) {
			keepTime(t, filepath.Join(dir, "ram"), func(path string) {
				data, err := os.ReadFile(path)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(path+"~", data, 0o600))
				require.NoError(t, os.Rename(path+"~", path))
			})
		},
		"swapped with another one": func(t *testing.T, s *Store, dir string) {
			other, _, _ := open(t, s, keyB, "other")
			other.Close()
			require.NoError(t, os.Rename(dir, dir+"~"))
			require.NoError(t, os.Rename(filepath.Join(s.dir, keyB), dir))
			require.NoError(t, os.Rename(dir+"~", filepath.Join(s.dir, keyB)))
		},
		"description emptied": func(t *testing.T, _ *Store, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "snapshot.json"), 0))
		},
		"a file in its place": func(t *testing.T, _ *Store, dir string) {
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.WriteFile(dir, nil, 0o600))
		},
		"another one's state": func(t *testing.T, s *Store, dir string) {
			other, _, _ := open(t, s, keyB, "other")
			other.Close()
			require.NoError(t, os.Rename(filepath.Join(s.dir, keyB, "state"), filepath.Join(dir, "state")))
		},
		"another one's memory": func(t *testing.T, s *Store, dir string) {
			other, _, _ := open(t, s, keyB, "other")
			other.Close()
			require.NoError(t, os.Rename(filepath.Join(s.dir, keyB, "ram"), filepath.Join(dir, "ram")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			f, _, _ := open(t, s, keyA, "one")
			f.Close()
			damage(t, s, filepath.Join(s.dir, keyA))
			f, notice, made := open(t, s, keyA, "two")
			assert.True(t, made, "a snapshot that was damaged (%s) was used", name)
			assert.Contains(t, notice, "is unusable")
			assert.Equal(t, "state two", content(t, f))
		})
	}
}

// keepTime sets the modification time of a file back after change.
func keepTime(t *testing.T, path string, change func(path string)) {
	info, err := os.Stat(path)
	require.NoError(t, err)
	change(path)
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// TestNoByteOfTheDescriptionCanLie changes each byte. Either the change is found, or the
// snapshot is the one that was made. The content of a lock file does not matter.
func TestNoByteOfTheDescriptionCanLie(t *testing.T) {
	s := newStore(t)
	f, _, _ := open(t, s, keyA, "one")
	f.Close()
	path := filepath.Join(s.dir, keyA, "snapshot.json")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := range whole {
		for _, bit := range []byte{0x01, 0x20} { // another digit or letter, another case
			data := []byte(string(whole))
			data[i] ^= bit
			require.NoError(t, os.WriteFile(path, data, 0o600))
			f, err := s.load(t.Context(), Info{Key: keyA})
			if err != nil {
				continue
			}
			assert.Equal(t, "state one", content(t, f), "%s", data)
			require.NoError(t, f.Close())
		}
	}
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	require.NoError(t, os.WriteFile(s.lockPath(keyA), []byte("x"), 0o600))
	_, notice, made := open(t, s, keyA, "two")
	assert.False(t, made)
	assert.Empty(t, notice)
}

func flip(t *testing.T, path string, at int64) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{^b[0]}, at)
	require.NoError(t, err)
}

func TestAFailedMakeLeavesNothing(t *testing.T) {
	s := newStore(t)
	fault := errors.New("no luck")
	_, err := s.Open(t.Context(), Info{Key: keyA}, func(string) {}, func(*Files) error { return fault })
	assert.ErrorIs(t, err, fault)
	left, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestContextEndsTheWaitForAnother(t *testing.T) {
	s := newStore(t)
	inMake, finish, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		f, err := s.Open(t.Context(), Info{Key: keyA}, func(string) {}, func(f *Files) error {
			close(inMake)
			<-finish
			return fillWith("one")(f)
		})
		if assert.NoError(t, err) {
			f.Close()
		}
	}()
	<-inMake
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Open(ctx, Info{Key: keyA}, func(string) { cancel() }, fillWith("two"))
	assert.ErrorIs(t, err, context.Canceled)
	close(finish)
	<-done
}

func TestPruneRemovesTheLongestUnusedAndNoneInUse(t *testing.T) {
	s := newStore(t)
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "lost+found"), 0)) // a file system's own
	a, _, _ := open(t, s, keyA, "one")
	require.NoError(t, os.Chtimes(filepath.Join(s.dir, keyA), old, old))
	b, _, _ := open(t, s, keyB, "two")
	b.Close()

	list, err := s.List()
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, keyB, list[0].Key, "used last")
	assert.Greater(t, list[0].Bytes, int64(4096))

	removed, err := s.Prune(0)
	require.NoError(t, err)
	require.Len(t, removed, 1, "snapshots that were removed while one was in use")
	assert.Equal(t, keyB, removed[0].Key, "the older one is in use")
	assert.ErrorIs(t, s.Remove(keyA), ErrInUse)

	a.Close()
	require.NoError(t, s.Remove(keyA))
	assert.ErrorIs(t, s.Remove(keyA), fs.ErrNotExist)
	for _, key := range []string{"../snapshots", "..", ".", "", "a/b"} {
		assert.ErrorContains(t, s.Remove(key), "not a key", key)
	}
}
