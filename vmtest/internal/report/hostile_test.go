package report

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

// evil is text that must stay text.
const evil = "<script>alert(1)</script>\x1b[2J\u202egnp\x00]]></style></svg><!--\"'`\ufffe\xff"

// What tests and guests write is text in the page and in the XML.
func TestHostileText(t *testing.T) {
	place := t.TempDir()
	d, err := evidence.Make(place, evil, time.Now())
	require.NoError(t, err)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d.Text("journal.txt", evil)
	d.Text(evil[:10]+".txt", evil)
	d.Record(evidence.Record{
		Test: evil, Guest: evidence.Guest{Image: evil, Systemd: evil}, Began: at, Ended: at.Add(time.Second), Verdict: []string{"title", evil},
		Steps:   []evidence.Step{{Began: at, Took: time.Second, Text: evil, Result: evil, Output: evil}},
		Moments: []evidence.Moment{{At: at, Of: "guest", Text: evil, Unit: evil, Bad: true}},
	})
	require.NoError(t, d.Err())
	test := "TestA/" + evil
	r := read(t, started("TestA"), event1(event{Action: "run", Package: "p", Test: test}), attr(test, evidence.AttrImage, evil),
		attr(test, evidence.AttrMachine, machine(evil, 1)), attr(test, evidence.AttrEvidence, d.Path()), printed(test, "    a_test.go:1: "+evil+"\n"),
		event1(event{Action: "fail", Package: "p", Test: test}), event1(event{Action: "skip", Package: "p", Test: "TestB" + evil}),
		ended("fail", "TestA"), event1(event{Action: "fail", Package: evil}), evil)
	page := html(t, r)
	assertText(t, page)
	assert.Greater(t, strings.Count(page, "&lt;script&gt;"), 10, "it is there as text")
	assertText(t, junitOf(t, r))
}

// assertText checks that a document has neither a script nor characters that act on a reader.
func assertText(t testing.TB, document string) {
	t.Helper()
	for _, bad := range []string{"<script", "<img", "alert(1)</script", "</style></svg>", "javascript:", "\x1b"} {
		if strings.Contains(strings.ReplaceAll(document, "<![CDATA[", ""), bad) && !strings.Contains(document, "<?xml") {
			assert.Fail(t, "markup", "the page has %q", bad)
		}
	}
	for _, c := range document {
		if unicode.Is(unicode.Bidi_Control, c) || unicode.IsControl(c) && c != '\n' && c != '\t' {
			assert.Fail(t, "control character", "the document has %U", c)
			break
		}
	}
}

// A page is some MB at most, and says what it leaves out.
func TestLargeRun(t *testing.T) {
	d, err := evidence.Make(t.TempDir(), "TestA", time.Now())
	require.NoError(t, err)
	d.Text("journal.txt", strings.Repeat("a line of the journal\n", 1<<20)) // 22 MiB
	r := evidence.Record{Began: began, Ended: began.Add(time.Hour)}
	for i := range 300 {
		at := began.Add(time.Duration(i) * 10 * time.Second)
		r.Steps = append(r.Steps, evidence.Step{Began: at, Text: strings.Repeat("step ", 200), Output: strings.Repeat("output\n", 600)})
		for unit := range lanesMax {
			r.Moments = append(r.Moments, evidence.Moment{At: at, Of: "guest", Unit: fmt.Sprint(unit), Text: strings.Repeat("text ", 50)})
		}
	}
	d.Record(r)
	require.NoError(t, d.Err())
	var lines []string
	for i := range failuresMax + 50 {
		test := fmt.Sprintf("Test%d", i)
		lines = append(lines, started(test))
		if i < 20 {
			lines = append(lines, attr(test, evidence.AttrEvidence, d.Path()))
		}
		for range 20 {
			lines = append(lines, printed(test, strings.Repeat("output ", 1000)+"\n"))
		}
		lines = append(lines, ended("fail", test))
	}
	page := html(t, read(t, lines...))
	assert.Less(t, len(page), 40<<20, "bytes of the page")
	assert.Contains(t, page, "50 more failures are not shown here")
	assert.Contains(t, page, "bytes of earlier lines are left out: see journal.txt")
	assert.Contains(t, page, "This page is full: the directory has the timeline")
	assert.Contains(t, page, "This page is full: the directory has the journal")
	assert.Contains(t, page, "earlier steps are left out")
	assert.Contains(t, page, "bytes are left out here)")
}

// Evidence that is gone or altered is said, and the rest is shown.
func TestEvidenceThatIsGone(t *testing.T) {
	place := t.TempDir()
	d, err := evidence.Make(place, "TestA", time.Now())
	require.NoError(t, err)
	d.Text("journal.txt", "the journal")
	d.Record(evidence.Record{Verdict: []string{"title", "a.service failed"}})
	lines := []string{started("TestA"), attr("TestA", evidence.AttrEvidence, "/elsewhere/"+filepath.Base(d.Path())), ended("fail", "TestA")}
	assert.Contains(t, html(t, read(t, lines...)), "The directory does not exist on this host")

	r := read(t, lines...)
	r.Moved = place
	assert.Contains(t, html(t, r), "the journal", "where the evidence was moved to")

	require.NoError(t, os.WriteFile(filepath.Join(d.Path(), "journal.txt"), []byte("The journal\n"), 0o600))
	page := html(t, r)
	assert.Contains(t, page, "journal.txt was changed after the test had written it")
	assert.Contains(t, page, "a.service failed")
	assert.NotContains(t, page, "The journal\n")

	require.NoError(t, os.WriteFile(filepath.Join(d.Path(), "evidence.json"), []byte(`{"format":7}`), 0o600))
	assert.Contains(t, html(t, r), "evidence.json has format 7, and this vmtest reads format 1")
	require.NoError(t, os.Remove(filepath.Join(d.Path(), "evidence.json")))
	assert.Contains(t, html(t, r), "The directory has no evidence.json")
}

func FuzzRun(f *testing.F) {
	run, err := os.ReadFile("testdata/run.json")
	require.NoError(f, err)
	for line := range strings.Lines(string(run)) {
		f.Add([]byte(line))
	}
	f.Add([]byte(printed("TestA", evil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := new(Run)
		if r.Read("input", bytes.NewReader(data)) != nil {
			return
		}
		assertText(t, html(t, r))
		junitOf(t, r)
	})
}
