package scenarios

import (
	"fmt"
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
		values[i] = e.Field(name)
	}
	return values
}

func anyEntry(vmtest.Entry) bool { return true }

// say logs messages by one identifier.
func say(t testing.TB, g *vmtest.Guest, identifier string, messages ...string) {
	t.Helper()
	g.Exec(t, vmtest.Command{
		Args:  []string{"systemd-cat", "--identifier=" + identifier},
		Stdin: strings.NewReader(strings.Join(messages, "\n") + "\n"),
	})
}

func messages(entries []vmtest.Entry) string {
	texts := make([]string, len(entries))
	for i, e := range entries {
		texts[i] = e.Message
	}
	return strings.Join(texts, ", ")
}

// The entries after a cursor are all of those that match, from the first on, and the last
// of them are the last. The wall clock has no say in it. journalctl --after-cursor drops
// the first match in systemd before 255 (https://github.com/systemd/systemd/issues/30288),
// and its --lines counts from the cursor on.
func TestJournalAfterACursor(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	demo := []string{"SYSLOG_IDENTIFIER=demo"}
	say(t, g, "demo", "one", "two")
	say(t, g, "other", "between")
	say(t, g, "demo", "three", "four")
	g.Run(t, "date", "--set=2020-01-01")
	say(t, g, "demo", "five", "six")

	all := g.Journal(t, vmtest.JournalQuery{Match: demo})
	require.Equal(t, "one, two, three, four, five, six", messages(all))
	between := g.Journal(t, vmtest.JournalQuery{Match: []string{"SYSLOG_IDENTIFIER=other"}, Last: 1})
	require.Equal(t, "between", messages(between))
	for _, test := range []struct {
		query vmtest.JournalQuery
		want  string
	}{
		{vmtest.JournalQuery{Match: demo, After: between[0].Cursor}, "three, four, five, six"},
		{vmtest.JournalQuery{Match: demo, After: all[1].Cursor}, "three, four, five, six"},
		{vmtest.JournalQuery{Match: demo, After: all[5].Cursor}, ""},
		{vmtest.JournalQuery{Match: demo, Last: 2}, "five, six"},
		{vmtest.JournalQuery{Match: demo, After: all[0].Cursor, Last: 2}, "five, six"},
		{vmtest.JournalQuery{Match: []string{"MESSAGE=two", "MESSAGE=four", "+", "SYSLOG_IDENTIFIER=demo", "MESSAGE=six"}}, "two, four, six"},
	} {
		assert.Equal(t, test.want, messages(g.Journal(t, test.query)), "%+v", test.query)
	}
	accept := func(text string) func(vmtest.Entry) bool {
		return func(e vmtest.Entry) bool { return strings.HasPrefix(e.Message, text) }
	}
	assert.Equal(t, "three", g.WaitJournal(t, vmtest.JournalQuery{Match: demo, After: between[0].Cursor}, anyEntry).Message)
	assert.Equal(t, "four", g.WaitJournal(t, vmtest.JournalQuery{Match: demo, After: between[0].Cursor}, accept("fo")).Message)
	assert.Equal(t, "five", g.WaitJournal(t, vmtest.JournalQuery{Match: demo, After: all[0].Cursor, Last: 2}, accept("f")).Message)
	// Later, so that the wait has to follow the journal.
	g.Run(t, "sh", "-c", "(sleep 1; echo seven | systemd-cat --identifier=demo) >/dev/null 2>&1 &")
	assert.Equal(t, "seven", g.WaitJournal(t, vmtest.JournalQuery{Match: demo, After: all[5].Cursor}, anyEntry).Message)
}

// The journal of a unit has what systemd's own helper processes say about it. They often
// end before journald finds out whose they are, and journalctl --unit does not show their
// lines then.
func TestJournalAboutAUnit(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	g.WriteFile(t, unitFile(g, "nobody.service"), []byte("[Service]\nUser=no-such-user\nExecStart=/usr/bin/true\n"), 0o644)
	g.WriteFile(t, unitFile(g, "nobody.socket"), []byte("[Socket]\nListenStream=/run/nobody\nSocketGroup=no-such-group\n"), 0o644)
	// The socket first: it is refused while its service is active, which a service of
	// Type=simple is until its process has found out that the user is missing.
	err := g.Machine.Unit("nobody.socket").Start(t.Context())
	assert.Equal(t, "failed", unitError(t, err).JobResult, "%v", err)
	g.Unit("nobody.service").Start(t)
	g.Unit("nobody.service").Wait(t, "failed")
	// A process that journald attributes to another unit.
	g.Exec(t, vmtest.Command{Args: []string{"logger", "--journald"}, Stdin: strings.NewReader("MESSAGE=a helper failed\nUNIT=nobody.service\n")})
	assertJournal(t, g, "nobody.service", "a helper failed")
	assertJournal(t, g, "nobody.service", noUserText(g))
	assertJournal(t, g, "nobody.service", "status=217/USER")
	assertJournal(t, g, "nobody.socket", "nobody.socket: Failed to resolve group")
	assertJournal(t, g, "nobody.socket", "Failed with result 'exit-code'")
	both := g.Journal(t, vmtest.JournalQuery{Unit: "nobody.service", Match: []string{"_PID=1", "PRIORITY=4"}})
	assert.Equal(t, "nobody.service: Failed with result 'exit-code'.", messages(both))
	last := g.Journal(t, vmtest.JournalQuery{Unit: "nobody.service", Match: []string{"_PID=1", "PRIORITY=4"}, Last: 1})
	assert.Equal(t, fmt.Sprint(both), fmt.Sprint(last))
}

// noUserText is why a service fails whose User=no-such-user does not exist.
func noUserText(g *vmtest.Guest) string {
	if !namesLostUser.of(g) {
		return "Failed to determine user credentials: No such process"
	}
	return "Failed to determine credentials for user 'no-such-user': Unknown user"
}
