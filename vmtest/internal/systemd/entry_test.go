package systemd

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// read returns the entries of journalctl's output.
func read(text string) (entries []Entry, err error) {
	err = readEntries(strings.NewReader(text), nil, func(e Entry) bool {
		entries = append(entries, e)
		return true
	})
	return entries, err
}

const stamps = `"__REALTIME_TIMESTAMP":"1767323045000006","__MONOTONIC_TIMESTAMP":"7"`

func TestReadEntry(t *testing.T) {
	entries, err := read(`{` + stamps + `, "__CURSOR": "s=1;i=2",` +
		`"MESSAGE": "it runs", "SYSLOG_IDENTIFIER": "demo", "_PID": "7",` +
		`"BYTES": [104, 105, 255], "TWICE": ["first", "second"], "TWICE_BYTES": [[1], [104, 105]], "HUGE": null}`)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	e := entries[0]
	assert.Equal(t, "s=1;i=2", e.Cursor)
	assert.Equal(t, "it runs", e.Message)
	assert.True(t, time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC).Equal(e.Time), "%v", e.Time)
	assert.Equal(t, "hi\xff", e.Fields["BYTES"])
	assert.Equal(t, "second", e.Fields["TWICE"])
	assert.Equal(t, "hi", e.Fields["TWICE_BYTES"])
	assert.Equal(t, "", e.Fields["HUGE"])
	assert.Equal(t, "03:04:05.000 demo[7]: it runs", e.String())
}

func TestEntryIsSafeToPrint(t *testing.T) {
	e := Entry{Message: "\x1b]0;owned\x07\x1b[2Jhello", Fields: map[string]string{"SYSLOG_IDENTIFIER": "x"}}
	assert.Equal(t, "00:00:00.000 x: hello", e.String())
}

func TestReadEntriesStopsWhenTold(t *testing.T) {
	text := strings.Repeat(`{`+stamps+`,"MESSAGE":"m"}`+"\n", 3)
	n := 0
	require.NoError(t, readEntries(strings.NewReader(text), nil, func(Entry) bool { n++; return n < 2 }))
	assert.Equal(t, 2, n)
}

func TestRubbishIsNoJournal(t *testing.T) {
	for _, text := range []string{
		"Failed to open\n", "{}\n", `{"__REALTIME_TIMESTAMP":"x"}`, `{"__REALTIME_TIMESTAMP":"1"}`,
		`{"A":{},` + stamps + `}`, `{"A":[256],` + stamps + `}`, `{"A":[[[1]]],` + stamps + `}`,
	} {
		_, err := read(text)
		assert.Error(t, err, text)
	}
}

func TestEntryIsBounded(t *testing.T) {
	_, err := read(`{` + stamps + `,"MESSAGE":"` + strings.Repeat("m", maxEntry) + `"}` + "\n")
	assert.EqualError(t, err, "read journal: an entry has more than 64 MiB")
}

// What a guest logs neither stops the reader other than by an error, nor gets a control
// character to a terminal.
func FuzzReadEntries(f *testing.F) {
	f.Add(`{` + stamps + `,"__CURSOR":"s=1;i=2","MESSAGE":"\u001b[2Jx","_PID":["1","2"],"UNIT":"a.service"}` + "\n")
	f.Add(`{` + stamps + `,"MESSAGE":[27,91,255],"MESSAGE_ID":"` + unitFailureResult + `","_PID":"1","UNIT":"a.service"}`)
	f.Add(`{` + stamps + `,"MESSAGE":"code=exited, status=217/USER","MESSAGE_ID":"` + unitProcessExit + `","_PID":"1","UNIT":"a"}`)
	f.Add(`{` + stamps + `,"MESSAGE":null}` + "\n\n" + `{`)
	keep := aboutUnit("a.service")
	f.Fuzz(func(t *testing.T, text string) {
		entries, _ := read(text)
		m, err := parseMatches(keep)
		require.NoError(t, err)
		kept := 0
		if err := readEntries(strings.NewReader(text), m.accept, func(Entry) bool { kept++; return true }); err == nil {
			require.LessOrEqual(t, kept, len(entries))
		}
		for _, e := range entries {
			require.NotNil(t, e.Fields)
			isAfter(e.Cursor, "s=1;i=1")
		}
		for _, line := range Lines(entries) {
			requirePrintable(t, line)
		}
		for _, failure := range Failures(entries) {
			requirePrintable(t, fmt.Sprint(failure))
		}
	})
}

func requirePrintable(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		require.False(t, unicode.IsControl(r) && r != '\n' && r != '\t', "%q in %q", r, text)
	}
}
