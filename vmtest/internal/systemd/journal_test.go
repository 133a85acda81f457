package systemd

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseEntry(t *testing.T) {
	e, err := parseEntry([]byte(`{
		"__CURSOR": "s=1;i=2", "__REALTIME_TIMESTAMP": "1767323045000006",
		"MESSAGE": "it runs", "SYSLOG_IDENTIFIER": "demo", "_PID": "7",
		"BYTES": [104, 105, 255], "TWICE": ["first", "second"], "TWICE_BYTES": [[1], [104, 105]], "HUGE": null
	}`))
	require.NoError(t, err)
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
	text := strings.Repeat(`{"__REALTIME_TIMESTAMP":"1","MESSAGE":"m"}`+"\n", 3)
	n := 0
	require.NoError(t, readEntries(strings.NewReader(text), func(Entry) bool { n++; return n < 2 }))
	assert.Equal(t, 2, n)
}

func TestRubbishIsNoJournal(t *testing.T) {
	for _, text := range []string{"Failed to open\n", "{}\n", `{"__REALTIME_TIMESTAMP":"x"}`, `{"A":{}, "__REALTIME_TIMESTAMP":"1"}`} {
		assert.Error(t, readEntries(strings.NewReader(text), func(Entry) bool { return true }), text)
	}
}

func TestEntryIsBounded(t *testing.T) {
	line := `{"__REALTIME_TIMESTAMP":"1","MESSAGE":"` + strings.Repeat("m", maxEntry) + `"}` + "\n"
	err := readEntries(strings.NewReader(line), func(Entry) bool { return true })
	assert.EqualError(t, err, "read journal: an entry has more than 64 MiB")
}

func TestQueryInWords(t *testing.T) {
	assert.Equal(t, "an entry", Query{Last: 5}.wanted())
	assert.Equal(t, "an entry of a.socket with PRIORITY=3 _PID=7", Query{Unit: "a.socket", Match: []string{"PRIORITY=3", "_PID=7"}}.wanted())
}

func TestQuery(t *testing.T) {
	q := Query{Unit: "a.socket", Match: []string{"PRIORITY=3"}, After: "c", Last: 5}
	assert.Equal(t, "journalctl --boot --output=json --all --no-pager --unit=a.socket --after-cursor=c --lines=5 PRIORITY=3",
		strings.Join(q.args(), " "))
}
