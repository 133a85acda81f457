package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/scenarios/conformance/internal/row"
)

// output returns what go test -json prints for a run that saw cells and passed.
func output(t *testing.T, cells ...row.Cell) string {
	t.Helper()
	var b strings.Builder
	for _, c := range cells {
		value, err := json.Marshal(c)
		require.NoError(t, err)
		line, err := json.Marshal(event{Action: "attr", Test: "Test/" + c.Image, Key: row.Key, Value: string(value)})
		require.NoError(t, err)
		b.Write(append(line, '\n'))
	}
	return b.String() + `{"Action":"pass"}` + "\n"
}

var cells = []row.Cell{
	{Row: row.Row{ID: "b", Claim: "does b", See: "systemd.socket(5) Backlog="}, Test: "x_test.go:TestB", Image: "new", Systemd: 262},
	{Row: row.Row{ID: "b", Claim: "does b", See: "systemd.socket(5) Backlog="}, Test: "x_test.go:TestB", Image: "old", Systemd: 247, Differs: []string{"reply: a|b\nc"}},
	{Row: row.Row{ID: "a", Claim: "does a", Since: 258, See: "#1234"}, Test: "x_test.go:TestA", Image: "new", Systemd: 262},
	{Row: row.Row{ID: "a", Claim: "does a", Since: 258, See: "#1234"}, Test: "x_test.go:TestA", Image: "old", Systemd: 247, Absent: true},
}

const table = intro + `
## What differs

| image | differs | too old for |
| --- | --- | --- |
| 247, old | b | a |
| 262, new |  |  |

## x

| row | behaviour | since | 247<br>old | 262<br>new | see |
| --- | --- | --- | --- | --- | --- |
| a, [TestA](conformance/x_test.go) | does a | 258 | - | holds | [#1234](https://github.com/systemd/systemd/issues/1234) |
| b, [TestB](conformance/x_test.go) | does b |  | differs: reply: a\|b; c | holds | [systemd.socket(5) Backlog=](https://www.freedesktop.org/software/systemd/man/latest/systemd.socket.html#Backlog=) |
`

func TestWriteAndCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "table.md")
	require.NoError(t, run([]string{"-write", file}, strings.NewReader(output(t, cells...)), nil))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, table, string(data))
	assert.NoError(t, run([]string{"-check", file}, strings.NewReader(output(t, cells...)), nil))

	other := append([]row.Cell{}, cells...)
	other[0].Differs = []string{"reply: none"}
	err = run([]string{"-check", file}, strings.NewReader(output(t, other...)), nil)
	require.ErrorContains(t, err, "is not what the run saw")
	assert.ErrorContains(t, err, "\n- | b, [TestB](conformance/x_test.go) | does b |  | differs: reply: a\\|b; c | holds |")
	assert.ErrorContains(t, err, "\n+ | b, [TestB](conformance/x_test.go) | does b |  | differs: reply: a\\|b; c | differs: reply: none |")
	assert.ErrorContains(t, err, "\n+ | 262, new | b |  |", "in the summary too")
	assert.NotContains(t, err.Error(), "TestA")
}

func TestBadRuns(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"failed": {
			`{"Action":"output","Test":"TestB/old","Output":"it broke\n"}` + "\n" + `{"Action":"fail","Test":"TestB/old"}` + "\n" + output(t, cells[0]),
			"the run failed",
		},
		"killed":        {strings.TrimSuffix(output(t, cells...), `{"Action":"pass"}`+"\n"), "the run has no end"},
		"no rows":       {output(t), "no test of the run saw a row"},
		"cell missing":  {output(t, cells[:3]...), "row a was not seen on old"},
		"row of two":    {output(t, append([]row.Cell{cells[0]}, cells...)...), "row b is of two tests"},
		"not JSON":      {"ok\n", "read the output of go test -json"},
		"bad attribute": {`{"Action":"attr","Test":"TestB","Key":"conformance","Value":"x"}` + "\n", "read what TestB saw"},
	} {
		t.Run(name, func(t *testing.T) {
			var failures strings.Builder
			err := run([]string{"-write", filepath.Join(t.TempDir(), "table.md")}, strings.NewReader(test.in), &failures)
			assert.ErrorContains(t, err, test.want)
			assert.Equal(t, name == "failed", failures.String() == "it broke\n", "output of failed tests: %q", failures.String())
		})
	}
	assert.NoError(t, run([]string{"-help"}, strings.NewReader(""), io.Discard), "-help is no failure")
	assert.ErrorContains(t, run(nil, strings.NewReader(""), nil), "want either -write FILE or -check FILE")
}
