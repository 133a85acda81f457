package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDirectory(t *testing.T) {
	d, err := Make(t.TempDir(), "TestA/b c:../x", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	require.NoError(t, err)
	assert.Regexp(t, `/20260102T030405\.000000-TestA_b_c_.._x-\d+$`, d.Path())
	info, err := os.Stat(d.Path())
	require.NoError(t, err)
	assert.Equal(t, "drwx------", info.Mode().String(), "the evidence is the user's alone")

	d.Text("empty.txt")
	d.Text("lines.txt", "a", "b")
	d.Write("half.txt", func(w io.Writer) error {
		fmt.Fprint(w, "half")
		return errors.New("the guest has gone")
	})
	d.Text("lines.txt", "again")
	got, err := os.ReadFile(filepath.Join(d.Path(), "lines.txt"))
	require.NoError(t, err)
	assert.Equal(t, "a\nb\n", string(got))
	assert.NoFileExists(t, filepath.Join(d.Path(), "empty.txt"))
	assert.FileExists(t, filepath.Join(d.Path(), "half.txt.part"), "what came before the error")
	assert.NoFileExists(t, filepath.Join(d.Path(), "half.txt"), "it does not look whole")
	assert.ErrorContains(t, d.Err(), "half.txt.part: the guest has gone")
	assert.ErrorContains(t, d.Err(), "lines.txt: ", "a second file of that name")
}

// A file is cut where it is too large, and says so.
func TestLargeFile(t *testing.T) {
	var b strings.Builder
	l := &limited{w: &b, left: 5}
	for range 3 {
		n, err := l.Write([]byte("abc"))
		require.NoError(t, err)
		assert.Equal(t, 3, n)
	}
	assert.Equal(t, "abcab\n(the rest is left out)\n", b.String())
	b.Reset()
	l = &limited{w: &b, left: 3}
	for range 2 {
		_, err := l.Write([]byte("abc"))
		require.NoError(t, err)
	}
	assert.Equal(t, "abc\n(the rest is left out)\n", b.String(), "a write that ends at the limit")
}

// The oldest directories give way to a new one, and nothing else does. What a run of the last
// hour has left stays.
func TestOldDirectories(t *testing.T) {
	place := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(place, "mine"), 0o700))
	var paths []string
	for i := range kept + 2 {
		d, err := Make(place, "TestA", time.Date(2026, 1, 2, 3+2*i, 4, 5, 0, time.UTC))
		require.NoError(t, err)
		paths = append(paths, d.Path())
	}
	for i, path := range paths {
		if i < 2 {
			assert.NoDirExists(t, path, "the oldest")
		} else {
			assert.DirExists(t, path)
		}
	}
	assert.DirExists(t, filepath.Join(place, "mine"))

	place = t.TempDir()
	for i := range kept + 2 {
		_, err := Make(place, "TestA", time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC))
		require.NoError(t, err)
	}
	left, err := os.ReadDir(place)
	require.NoError(t, err)
	assert.Len(t, left, kept+2, "of one run")
}

// What is large goes first, from the oldest directories, which say so and keep the rest.
func TestDropLarge(t *testing.T) {
	place := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(place, "mine", "machine"), 0o700))
	var all []*Directory
	for i := range keptLarge + 3 {
		d, err := Make(place, "TestA", time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC))
		require.NoError(t, err)
		d.Text("summary.txt", "failed")
		if i != 1 { // has nothing large
			require.NoError(t, os.MkdirAll(filepath.Join(d.Path(), "machine", "full"), 0o700))
		}
		all = append(all, d)
	}
	require.NoError(t, all[len(all)-1].DropLarge("machine", "no-machine.txt"))
	for i, d := range all {
		assert.FileExists(t, filepath.Join(d.Path(), "summary.txt"))
		if i > 2 {
			assert.DirExists(t, filepath.Join(d.Path(), "machine", "full"))
			continue
		}
		assert.NoDirExists(t, filepath.Join(d.Path(), "machine"), "an older one is left")
		assert.NoDirExists(t, filepath.Join(d.Path(), ".machine-old"))
		if i != 1 {
			why, err := os.ReadFile(filepath.Join(d.Path(), "no-machine.txt"))
			require.NoError(t, err)
			assert.Equal(t, "it was removed, because the last 10 are kept\n", string(why))
		}
	}
	assert.DirExists(t, filepath.Join(place, "mine", "machine"))
}

// What a link leads to is not touched.
func TestDropLargeFollowsNoLink(t *testing.T) {
	place, elsewhere := t.TempDir(), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(elsewhere, "machine"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "mine"), []byte("mine"), 0o600))
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(place, "20260101T000000.000000-TestA-1")))
	var d *Directory
	for i := range keptLarge + 1 {
		var err error
		d, err = Make(place, "TestA", time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC))
		require.NoError(t, err)
		require.NoError(t, os.Mkdir(filepath.Join(d.Path(), "machine"), 0o700))
		if i == 0 {
			require.NoError(t, os.Symlink(filepath.Join(elsewhere, "mine"), filepath.Join(d.Path(), "no-machine.txt")))
		}
	}
	require.NoError(t, d.DropLarge("machine", "no-machine.txt"))
	assert.DirExists(t, filepath.Join(elsewhere, "machine"))
	text, err := os.ReadFile(filepath.Join(elsewhere, "mine"))
	require.NoError(t, err)
	assert.Equal(t, "mine", string(text))
}

// The last command of a test is the one that began last before the test failed.
func TestLastCommand(t *testing.T) {
	var s Steps
	failed := false
	s.SetOver(func() bool { return failed })
	assert.Nil(t, s.Last())
	at := time.Now()
	s.Ran(Command{Args: []string{"second"}, Began: at.Add(1), Stdout: bytes.Repeat([]byte("x"), maxOutput+1), Err: "exit\x1b[2J"}, false)
	s.Ran(Command{Args: []string{"first"}, Began: at}, false) // it ended later
	s.Ran(Command{Args: []string{"of a clean-up"}, Began: at.Add(2)}, true)
	assert.Equal(t, []string{"second"}, s.Last().Args)
	assert.Len(t, s.Last().Stdout, maxOutput)
	assert.NotContains(t, s.Last().Err, "\x1b")
	assert.False(t, s.Over())
	failed = true
	assert.True(t, s.Over())
	assert.False(t, (*Steps)(nil).Over())
}

func TestPlace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	t.Setenv("VMTEST_EVIDENCE", dir)
	got, err := Place()
	require.NoError(t, err)
	assert.Equal(t, dir, got)
	assert.DirExists(t, dir)
	t.Setenv("VMTEST_EVIDENCE", "b")
	_, err = Place()
	assert.ErrorContains(t, err, `VMTEST_EVIDENCE is "b", not an absolute path`)
	t.Setenv("VMTEST_EVIDENCE", "")
	t.Setenv("VMTEST_CACHE", dir)
	got, err = Place()
	require.NoError(t, err)
	assert.Equal(t, dir+"/evidence", got)
}

func TestSteps(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	var s Steps
	s.Add(Step{Began: at.Add(time.Second), Took: 250 * time.Millisecond, Text: "$ false", Result: "exit status 1\nmore", Output: "\x1b[2Jout\nerr\n"})
	s.Add(Step{Began: at, Text: "EnableNow at a_test.go:7", Output: strings.Repeat("x", maxOutput) + "end"})
	all := s.All()
	assert.Equal(t, "EnableNow at a_test.go:7", all[0].Text, "ended later, began first")
	assert.True(t, strings.HasPrefix(all[0].Output, "…xx") && strings.HasSuffix(all[0].Output, "xxend"))
	assert.Equal(t, "03:04:06.000006  $ false (0.250 s)\n    exit status 1\n    more\n    out\n    err", all[1].String())
	moments := []Moment{
		{At: at.Add(time.Second), Of: "test", Text: all[1].Line()}, {At: at, Of: "guest", Text: "systemd: Started"},
		{At: at.Add(time.Second), Of: "guest", Text: "late"},
	}
	Sort(moments)
	assert.Equal(t, []string{
		"03:04:05.000006  guest  systemd: Started",
		"03:04:06.000006  test   $ false (0.250 s): exit status 1",
		"03:04:06.000006  guest  late",
	}, Timeline(moments))
	for range maxSteps + 1 {
		s.Add(Step{Began: at})
	}
	assert.LessOrEqual(t, len(s.All()), maxSteps, "steps are bounded")
}

// All files together are bounded, and each says where it was cut.
func TestLargeDirectory(t *testing.T) {
	d, err := Make(t.TempDir(), "TestA", time.Now())
	require.NoError(t, err)
	files := maxTotal/maxFile + 2
	for i := range files {
		d.Write(fmt.Sprint(i), func(w io.Writer) error {
			_, err := io.Copy(w, io.LimitReader(ones{}, maxFile+1))
			return err
		})
	}
	require.NoError(t, d.Err())
	var total int64
	for i := range files {
		info, err := os.Stat(filepath.Join(d.Path(), fmt.Sprint(i)))
		require.NoError(t, err)
		total += info.Size()
	}
	assert.LessOrEqual(t, total, int64(maxTotal+files*len(cutOff)))
	last, err := os.ReadFile(filepath.Join(d.Path(), fmt.Sprint(files-1)))
	require.NoError(t, err)
	assert.Equal(t, cutOff, string(last))
	d.Record(Record{Test: "TestA"})
	r, err := Read(d.Path())
	require.NoError(t, err, "the record is whole")
	assert.Equal(t, "TestA", r.Test)
}

// The error of a place in the cache says what to set if there is no home.
func TestPlaceWithoutHome(t *testing.T) {
	for _, name := range []string{"VMTEST_EVIDENCE", "VMTEST_CACHE", "HOME", "XDG_CACHE_HOME"} {
		t.Setenv(name, "")
	}
	_, err := Place()
	assert.ErrorContains(t, err, "VMTEST_CACHE")
	t.Setenv("VMTEST_EVIDENCE", filepath.Join(t.TempDir(), "a"))
	_, err = Place()
	assert.NoError(t, err)
}
