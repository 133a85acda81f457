package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

var update = flag.Bool("update", false, "write the files that TestGolden compares with")

// read returns the run that lines are the output of.
func read(t testing.TB, lines ...string) *Run {
	t.Helper()
	r := new(Run)
	require.NoError(t, r.Read("input", strings.NewReader(strings.Join(lines, "\n"))))
	return r
}

func html(t testing.TB, r *Run) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, r.HTML(&b))
	return b.String()
}

// junitOf returns the JUnit XML, which must be well-formed.
func junitOf(t testing.TB, r *Run) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r.JUnit(&b))
	text := b.String()
	for d := xml.NewDecoder(&b); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text
		}
		require.NoError(t, err, "the XML is not well-formed:\n%s", text)
	}
}

// testdata/run.json is a run with a failed wait, whose evidence is there, an unequal value,
// whose evidence has been removed, a skip, a timeout and a package that does not compile.
func TestGolden(t *testing.T) {
	in, err := os.Open("testdata/run.json")
	require.NoError(t, err)
	defer in.Close()
	r := &Run{Moved: "testdata/evidence"}
	require.NoError(t, r.Read("testdata/run.json", in))
	for name, got := range map[string]string{"report.html": html(t, r), "junit.xml": junitOf(t, r)} {
		path := filepath.Join("testdata", name)
		if *update {
			require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, string(want), got, "%s is not what the run gives; go test -update ./vmtest/internal/report writes it", path)
	}
}

// started and ended are events of a test of package p.
func started(test string) string {
	return fmt.Sprintf(`{"Action":"run","Package":"p","Test":%q}`, test)
}

func ended(action, test string) string {
	return fmt.Sprintf(`{"Action":%q,"Package":"p","Test":%q,"Elapsed":1}`, action, test)
}

func attr(test, key, value string) string {
	return event1(event{Action: "attr", Package: "p", Test: test, Key: key, Value: value})
}

func printed(test, output string) string {
	return event1(event{Action: "output", Package: "p", Test: test, Output: output})
}

func event1(e event) string {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(data)
}

const packageFailed = `{"Action":"fail","Package":"p"}`

func TestVerdict(t *testing.T) {
	for want, lines := range map[string][]string{
		"1 test passed":                {started("TestA"), ended("pass", "TestA"), `{"Action":"pass","Package":"p"}`},
		"1 of 2 tests failed":          {started("TestA"), ended("pass", "TestA"), started("TestB"), ended("fail", "TestB"), packageFailed},
		"1 of 1 test without a result": {started("TestA"), packageFailed},
		"1 of 1 test failed":           {started("TestA"), started("TestA/b"), ended("fail", "TestA/b"), ended("fail", "TestA"), packageFailed},
		"1 package failed":             {`{"Action":"start","Package":"p"}`, packageFailed},
		"No test ran":                  {`{"Action":"start","Package":"p"}`, `{"Action":"skip","Package":"p"}`},
		"1 package failed (no end)":    {`{"Action":"start","Package":"p"}`, started("TestA"), ended("pass", "TestA")},
		"1 of 2 tests failed (again)":  {started("TestA"), ended("fail", "TestA"), started("TestA"), ended("pass", "TestA"), packageFailed},
	} {
		r := read(t, lines...)
		want, _, _ = strings.Cut(want, " (")
		assert.Equal(t, want, r.Verdict())
		assert.Equal(t, !strings.Contains(want, "passed") && want != "No test ran", r.Failed(), want)
		html(t, r)
		junitOf(t, r)
	}
}

// Lines that are no events are shown. An input of nothing else is an error.
func TestStrayLines(t *testing.T) {
	r := read(t, "go: downloading <b>", started("TestA"), ended("pass", "TestA"), `{"Action":"pass","Package":"p"}`, `{"Action":"pa`)
	assert.Equal(t, 2, r.Strays)
	assert.Contains(t, html(t, r), "go: downloading &lt;b&gt;")
	err := new(Run).Read("a.json", strings.NewReader("ok  \tp\t0.1s\n"))
	assert.EqualError(t, err, "read a.json: no line is an event of go test -json")
	err = new(Run).Read("a.json", io.MultiReader(strings.NewReader("{}\n"), broken{}))
	assert.EqualError(t, err, "read a.json: input/output error")
	r = read(t, started("TestA"), strings.Repeat("x", 3*lineMax), ended("pass", "TestA"))
	assert.Equal(t, 1, r.Strays, "a line too long for an event")
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

func machine(image string, ready float64) string {
	data, _ := json.Marshal(evidence.Machine{Guest: evidence.Guest{Image: image, Systemd: "257"}, Ready: ready})
	return string(data)
}

// A test of EachImage is a row with a cell for each image. So is one that several runs had on
// an image each.
func TestMatrix(t *testing.T) {
	r := read(t,
		started("TestA"), started("TestA/new"), attr("TestA/new", evidence.AttrImage, "new"), attr("TestA/new", evidence.AttrMachine, machine("new", 0.2)),
		ended("fail", "TestA/new"), started("TestA/old"), attr("TestA/old", evidence.AttrImage, "old"), started("TestA/old/b"), ended("skip", "TestA/old/b"),
		ended("pass", "TestA/old"), ended("fail", "TestA"), started("TestHost"), ended("pass", "TestHost"), packageFailed)
	require.NoError(t, r.Read("second", strings.NewReader(strings.Join([]string{
		started("TestB"), attr("TestB", evidence.AttrMachine, machine("old", 0.4)), ended("pass", "TestB"),
		started("TestHost"), ended("skip", "TestHost"), `{"Action":"pass","Package":"p"}`,
		`{"Action":"run","Package":"q","Test":"TestC"}`, `{"Action":"pass","Package":"q","Test":"TestC"}`, `{"Action":"pass","Package":"q"}`}, "\n"))))
	columns := r.columns()
	assert.Equal(t, []column{{Image: "new", Systemd: "257"}, {Image: "old", Systemd: "257"}, {}}, columns)
	m := r.matrices(columns, nil)
	require.Len(t, m, 2)
	assert.Equal(t, columns, m[0].Columns)
	assert.Equal(t, []column{{}}, m[1].Columns, "of a package without guests")
	assert.True(t, m[0].Open && !m[1].Open)
	var rows []string
	for _, line := range m[0].Rows {
		text := line.Test
		for _, c := range line.Cells {
			if !c.Ran {
				text += " -"
			} else {
				text += fmt.Sprintf(" %v/%d", c.State, c.Runs)
			}
		}
		rows = append(rows, text)
	}
	assert.Equal(t, []string{"TestA failed/1 passed/1 -", "TestB - passed/1 -", "TestHost - - passed/2"}, rows)
	g := r.guests(columns)
	require.Len(t, g, 2)
	assert.Equal(t, 400*time.Millisecond, g[1].Median)
	assert.Equal(t, 50, g[0].MedianPart)
	text := junitOf(t, r)
	assert.Contains(t, text, `name="TestB [old]"`)
	assert.Contains(t, text, `name="TestA/new"`)
}

func TestCompare(t *testing.T) {
	const output = "    a_test.go:1: \n        \tError:      \tNot equal: \n        \t            \texpected: \"a\\nb\"\n        \t            \tactual  : \"a\\nc\"\n" +
		"        \t            \t\n        \t            \tDiff:\n        \t            \t--- Expected\n        \t            \t+++ Actual\n        \t            \t@@ -1,2 +1,2 @@\n" +
		"        \t            \t a\n        \t            \t-b\n        \t            \t+c\n        \tTest:       \tTestA\n    - a list\n" +
		"    b_test.go:2: wait for SubState of a.service to be running: the unit failed; it is failed (failed), result exit-code; it has 3 a.service start\n"
	lines, all := compare(output)
	assert.Equal(t, []difference{{`"a\nb"`, `"a\nc"`}, {"running", "failed (failed), result exit-code"}}, all)
	kinds := make(map[string]string)
	for _, l := range lines {
		kinds[strings.TrimSpace(l.Text)] = l.Kind
	}
	assert.Equal(t, "del", kinds["-b"])
	assert.Equal(t, "ins", kinds["+c"])
	assert.Equal(t, "hunk", kinds["+++ Actual"])
	assert.Empty(t, kinds["a"])
	assert.Empty(t, kinds["- a list"], "after the message")
	assert.Equal(t, `Not equal: expected "a\nb", actual "a\nc"`, brief(output))
	assert.Equal(t, "unexpected in the guest: a.service failed", brief("    a_test.go:1: unexpected in the guest:\n          | a.service failed\n"))
	assert.Equal(t, "panic: test timed out after 1s", brief("hello\npanic: test timed out after 1s\nrunning tests:\n"))
}
