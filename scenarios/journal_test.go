package scenarios

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// assertJournal asserts that a line of a unit's journal, as journalctl -u shows
// it, has the text.
func assertJournal(t testing.TB, g *vmtest.Guest, unit, text string) {
	t.Helper()
	assertLine(t, g.Journal(t, vmtest.JournalQuery{Unit: unit}), "the journal of "+unit, text)
}

// assertLine asserts that the message of one of the entries has the text.
func assertLine(t testing.TB, entries []vmtest.Entry, of, text string) {
	t.Helper()
	for _, e := range entries {
		if strings.Contains(e.Message, text) {
			return
		}
	}
	assert.Fail(t, "no line of "+of+" has the text", "text: %q\nlines:\n%s", text, lines(entries))
}

// assertNoLine asserts that the message of none of the entries has the text.
func assertNoLine(t testing.TB, entries []vmtest.Entry, of, text string) {
	t.Helper()
	for _, e := range entries {
		assert.NotContains(t, e.Message, text, "line of %s", of)
	}
}

func lines(entries []vmtest.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString("  | " + e.String() + "\n")
	}
	return b.String()
}

// echoEvents returns what the echo daemon, in any process, has logged of an event.
func echoEvents(t testing.TB, g *vmtest.Guest, event string) []vmtest.Entry {
	t.Helper()
	return g.Journal(t, echoQuery(event))
}

// waitEcho waits for the first entry of an event that match accepts.
func waitEcho(t testing.TB, g *vmtest.Guest, event string, match func(vmtest.Entry) bool) vmtest.Entry {
	t.Helper()
	ctx, cancel := vmtest.WithTimeout(t.Context(), patience)
	defer cancel()
	entry, err := g.Machine.WaitJournal(ctx, echoQuery(event), match)
	require.NoError(t, err, "wait for an entry with ECHO_EVENT=%s", event)
	return entry
}

func echoQuery(event string) vmtest.JournalQuery {
	return vmtest.JournalQuery{Match: []string{"SYSLOG_IDENTIFIER=demo-echo", "ECHO_EVENT=" + event}}
}

// field returns one field of each entry.
func field(entries []vmtest.Entry, name string) []string {
	values := make([]string, len(entries))
	for i, e := range entries {
		values[i] = e.Fields[name]
	}
	return values
}

func anyEntry(vmtest.Entry) bool { return true }
