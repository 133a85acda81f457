package evidence

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorded returns a directory with a file and a record.
func recorded(t *testing.T, r Record) string {
	t.Helper()
	d, err := Make(t.TempDir(), "TestA", time.Now())
	require.NoError(t, err)
	d.Text("journal.txt", "a", "b")
	d.Record(r)
	require.NoError(t, d.Err())
	return d.Path()
}

func TestRecord(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("far", 3600))
	dir := recorded(t, Record{
		Test: "TestA/b", Package: "example.org/a", Guest: Guest{Image: "debian-13", Systemd: "257", Kernel: "6.12", Accel: "tcg"},
		Began: at, Ended: at.Add(time.Second), Verdict: []string{"a.service failed <once>"},
		Steps:   []Step{{Began: at, Took: time.Second, Text: "$ \x1b[2Jfalse", Result: "exit status 1", Output: "\xff"}},
		Moments: []Moment{{At: at, Of: "guest", Text: "systemd: x", Unit: "a.service", Bad: true}},
	})
	r, err := Read(dir)
	require.NoError(t, err)
	assert.Equal(t, &Record{
		Test: "TestA/b", Package: "example.org/a", Guest: Guest{Image: "debian-13", Systemd: "257", Kernel: "6.12", Accel: "tcg"},
		Began: at.UTC(), Ended: at.UTC().Add(time.Second), Verdict: []string{"a.service failed <once>"},
		Steps:   []Step{{Began: at.UTC(), Took: time.Second, Text: "$ false", Result: "exit status 1", Output: "\ufffd"}},
		Moments: []Moment{{At: at.UTC(), Of: "guest", Text: "systemd: x", Unit: "a.service", Bad: true}},
		Files:   []File{{Name: "journal.txt", Bytes: 4, SHA256: digest([]byte("a\nb\n"))}},
	}, r, "the texts are safe to print, the times in UTC")
	text, before, err := r.ReadFile(dir, "journal.txt", 3)
	require.NoError(t, err)
	assert.Equal(t, "\nb\n", string(text), "its end")
	assert.EqualValues(t, 1, before)
}

// A record is a few MB at most, and keeps the last steps and moments.
func TestLargeRecord(t *testing.T) {
	long := strings.Repeat("ü", recordText)
	r := Record{Verdict: []string{long}}
	for range recordSteps + 1 {
		r.Steps = append(r.Steps, Step{Text: long, Result: long, Output: strings.Repeat("x", 2*recordOutput)})
	}
	for range recordMoments {
		r.Moments = append(r.Moments, Moment{Text: long})
	}
	r.Moments = append(r.Moments, Moment{Text: "the last one"})
	dir := recorded(t, r)
	info, err := os.Stat(filepath.Join(dir, RecordFile))
	require.NoError(t, err)
	assert.Less(t, info.Size(), int64(8<<20))
	got, err := Read(dir)
	require.NoError(t, err)
	assert.Equal(t, 1, got.Omitted)
	assert.Equal(t, "the last one", got.Moments[recordMoments-1].Text)
	assert.Len(t, got.Steps, recordSteps)
}

// A record of any texts can be read.
func TestRecordOfMarkup(t *testing.T) {
	for _, char := range []string{"<", "\x01"} {
		long := strings.Repeat(char, 2*recordText)
		r := Record{Test: long, Package: long}
		for range recordSteps {
			r.Steps = append(r.Steps, Step{Text: long, Result: long, Output: strings.Repeat(char, 2*recordOutput)})
		}
		for range recordMoments {
			r.Moments = append(r.Moments, Moment{Text: long, Unit: long})
		}
		_, err := Read(recorded(t, r))
		assert.NoError(t, err, "of %q", char)
	}
}

// A record that another program wrote is as safe to print as one of a test, and as small.
func TestForeignRecord(t *testing.T) {
	foreign := func(r Record) (*Record, error) {
		data, err := json.Marshal(r)
		require.NoError(t, err)
		data, err = json.Marshal(envelope{format, digest(data), data})
		require.NoError(t, err)
		return parse(data)
	}
	r, err := foreign(Record{
		Test: "\x1b[2JTestA", Guest: Guest{Kernel: "6\x07"}, Verdict: []string{"\x1b[2Jx"},
		Moments: make([]Moment, recordMoments+1), Files: make([]File, recordFiles+1),
	})
	require.NoError(t, err)
	assert.Equal(t, "TestA", r.Test)
	assert.Equal(t, "6\ufffd", r.Kernel)
	assert.Equal(t, []string{"x"}, r.Verdict)
	assert.Len(t, r.Moments, recordMoments)
	assert.Len(t, r.Files, recordFiles)
	for _, size := range []int64{-1, maxSize + 1} {
		_, err := foreign(Record{Files: []File{{Name: "journal.txt", Bytes: size}}})
		assert.ErrorContains(t, err, "is damaged: a file with")
	}
}

// A record of another format, and one that is not as the test wrote it, names its file.
func TestBadRecords(t *testing.T) {
	dir := recorded(t, Record{Test: "TestA", Verdict: []string{"all is well"}})
	path := filepath.Join(dir, RecordFile)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, whole))
	for name, test := range map[string]struct{ text, want string }{
		"reformatted":       {compact.String(), ""},
		"of another format": {strings.Replace(string(whole), `"format": 1`, `"format": 2`, 1), "has format 2, and this vmtest reads format 1"},
		"altered":           {strings.Replace(string(whole), "all is well", "all is bad", 1), "was changed after the test had written it"},
		"cut":               {string(whole[:len(whole)/2]), "is damaged: unexpected end of JSON input"},
		"empty":             {`{"format":1}`, "is damaged"},
		"of another type":   {`{"format":1,"sha256":"` + digest([]byte(`[1]`)) + `","record":[1]}`, "is damaged"},
		"large":             {strings.Repeat(" ", recordMax+1), "has more than"},
	} {
		require.NoError(t, os.WriteFile(path, []byte(test.text), 0o600))
		_, err := Read(dir)
		if test.want == "" {
			assert.NoError(t, err, name)
			continue
		}
		assert.ErrorContains(t, err, "read evidence: "+path+" "+test.want, "Read reads a record that is %s", name)
	}
	require.NoError(t, os.Remove(path))
	_, err = Read(dir)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestAlteredFile(t *testing.T) {
	dir := recorded(t, Record{})
	r, err := Read(dir)
	require.NoError(t, err)
	path := filepath.Join(dir, "journal.txt")
	for want, alter := range map[string]func() error{
		path + " was changed after":                  func() error { return os.WriteFile(path, []byte("a\nc\n"), 0o600) },
		path + " was changed":                        func() error { return os.WriteFile(path, []byte("a\n"), 0o600) },
		path + ": too many levels of symbolic links": func() error { return os.Symlink("/etc/hostname", path) },
		path + " is no regular file":                 func() error { return syscall.Mkfifo(path, 0o600) },
	} {
		require.NoError(t, os.Remove(path))
		require.NoError(t, alter())
		_, _, err = r.ReadFile(dir, "journal.txt", 100)
		assert.ErrorContains(t, err, want)
	}
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, maxSize))
	r.Files[0].Bytes = maxSize
	_, _, err = r.ReadFile(dir, "journal.txt", 100)
	assert.ErrorContains(t, err, "which no text of the evidence has")
	_, _, err = r.ReadFile(dir, "../x", 100)
	assert.ErrorContains(t, err, "has no ../x")
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"sha256":"","record":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := parse(data); (r == nil) == (err == nil) {
			t.Fatal(r, err)
		}
	})
}
