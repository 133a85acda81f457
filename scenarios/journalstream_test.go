package scenarios

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// What a unit logged and what was logged about it are told apart, since a point.
func TestJournalExpectations(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	g.WriteFile(t, unitFile(g, "talk.service"), []byte("[Service]\nType=oneshot\nExecStart=/bin/echo first\nExecStart=/bin/echo second\n"), 0o644)
	g.Unit("talk.service").Start(t)
	since := g.JournalEnd(t)
	g.Unit("talk.service").Start(t)

	own := g.Journal(t, vmtest.JournalQuery{By: "talk.service", After: since})
	require.Equal(t, "first, second", messages(own))
	about := g.ExpectEntry(t, vmtest.JournalQuery{About: "talk.service", After: since, Contains: "Starting"})
	assert.Equal(t, []string{"talk.service", "init.scope"}, []string{about.About, about.Unit})
	assert.Equal(t, own[0].Invocation, about.Invocation, "the same run")
	assert.Equal(t, []any{"talk.service", "", 6, "echo"}, []any{own[0].Unit, own[0].About, own[0].Priority, own[0].Identifier})
	assert.Less(t, about.Monotonic, own[1].Monotonic)
	g.ExpectOrder(t,
		vmtest.JournalQuery{About: "talk.service", After: since, Contains: "Starting"},
		vmtest.JournalQuery{By: "talk.service", Contains: "first"},
		vmtest.JournalQuery{By: "talk.service", Contains: "second"})
	g.ExpectNoEntry(t, vmtest.JournalQuery{By: "talk.service", After: own[1].Cursor})

	_, err := g.Machine.ExpectOrder(t.Context(),
		vmtest.JournalQuery{By: "talk.service", Contains: "second", After: since},
		vmtest.JournalQuery{By: "talk.service", Contains: "first"})
	require.ErrorAs(t, err, new(*vmtest.EntryError))
	assert.ErrorContains(t, err, `the journal does not have an entry by talk.service that contains "first" after `)
	err = g.Machine.ExpectNoEntry(t.Context(), vmtest.JournalQuery{By: "talk.service", After: since})
	assert.ErrorContains(t, err, "the journal has an entry by talk.service: ")
}

// Fields may be binary, large, and occur several times.
func TestJournalFields(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	large := strings.Repeat("x", 200<<10)
	g.WriteFile(t, "/tmp/entry", []byte("MESSAGE=fields\nTWICE=1\nTWICE=2\nLARGE="+large+"\n"), 0o644)
	g.Exec(t, vmtest.Command{Args: []string{"logger", "--journald=/tmp/entry"}})
	e := g.ExpectEntry(t, vmtest.JournalQuery{Match: []string{"MESSAGE=fields"}})
	assert.Equal(t, [][]byte{[]byte("1"), []byte("2")}, e.Fields["TWICE"])
	assert.Equal(t, large, e.Field("LARGE"))
	say(t, g, "binary", "a\xff\x1b[2Jb")
	e = g.ExpectEntry(t, vmtest.JournalQuery{Match: []string{"SYSLOG_IDENTIFIER=binary"}})
	assert.Equal(t, "a\xff\x1b[2Jb", e.Message)
	assert.NotContains(t, e.String(), "\x1b")
}

// lostEntries is a loss of entries that the guest removed before they were read, or while one of
// them was.
var lostEntries = regexp.MustCompile(`^(an entry|\d+ entries) before .* did not arrive$|^an entry was dropped: `)

// Lines in a burst arrive all, in order, though the journal is rotated while it is written and
// read. Rotation, a vacuum, a restart of journald, the death of journald and of journalctl, and
// a clock that is set back lose none and repeat none. What a vacuum takes before it is read is
// said.
func TestJournalStreamIsWhole(t *testing.T) {
	t.Parallel()
	burst := 10_000 // more than any buffer on the way holds
	if soak() {
		burst = 60_000
	}
	// journald writes some hundred lines a second on a slow host without KVM.
	// Its losses are unexpected, so the test looks at what is unexpected itself.
	g := vmtest.Start(t, vmtest.Config{OpTimeout: 10 * time.Minute, LogUnexpected: true})
	g.Run(t, "mkdir", "-p", "/run/systemd/journald.conf.d")
	g.WriteFile(t, "/run/systemd/journald.conf.d/burst.conf", []byte("[Journal]\nRateLimitIntervalSec=0\n"), 0o644)
	journald := g.Unit("systemd-journald.service")
	journald.Restart(t)
	n := 0
	log := func(lines int, meanwhile string) []vmtest.Entry {
		t.Helper()
		since := g.JournalEnd(t)
		g.Run(t, "sh", "-c", fmt.Sprintf("{ seq %d %d | systemd-cat --identifier=burst; } & %s\nwait", n+1, n+lines, meanwhile))
		return g.Journal(t, vmtest.JournalQuery{Match: []string{"SYSLOG_IDENTIFIER=burst"}, After: since})
	}
	count := func(lines int, meanwhile string) {
		t.Helper()
		entries := log(lines, meanwhile)
		require.Len(t, entries, lines)
		for _, e := range entries {
			n++
			require.Equal(t, fmt.Sprint(n), e.Message)
		}
	}
	count(burst, "journalctl --rotate; journalctl --rotate; journalctl --rotate")
	g.Run(t, "journalctl", "--rotate", "--vacuum-size=1M")
	count(10, "")
	journald.Restart(t)
	count(10, "")
	g.AnnounceFailure(t, journald.Name())
	journald.Kill(t, syscall.SIGKILL)
	count(10, "")
	g.Exec(t, vmtest.Command{Args: []string{"sh", "-c", `for p in /proc/[0-9]*; do [ "$(cat $p/comm)" = journalctl ] && kill -9 ${p#/proc/}; done; true`}})
	count(10, "")
	g.Run(t, "date", "--set=2020-01-01")
	count(10, "")
	assert.Empty(t, g.Machine.JournalLosses())

	arrived := len(log(burst/5, "journalctl --rotate --vacuum-files=1; journalctl --rotate --vacuum-files=1"))
	lost := 0
	for _, loss := range g.Machine.JournalLosses() {
		found := lostEntries.FindStringSubmatch(loss)
		require.NotNil(t, found, "a loss of another kind: %s", loss)
		missing := 1
		if found[1] != "" && found[1] != "an entry" {
			_, err := fmt.Sscanf(found[1], "%d entries", &missing)
			require.NoError(t, err, loss)
		}
		lost += missing
	}
	assert.GreaterOrEqual(t, arrived+lost, burst/5, "lost and not said")
	unexpected, err := g.Machine.Unexpected(t.Context())
	require.NoError(t, err)
	for _, line := range unexpected {
		assert.Contains(t, line, "the journal is not whole: ", "what is unexpected besides the losses")
	}
}

// A guest that has gone leaves its journal.
func TestJournalOfAGuestThatIsGone(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	say(t, g, "demo", "before the end")
	g.Exec(t, vmtest.Command{Args: []string{"systemctl", "--no-block", "poweroff"}})
	assert.Equal(t, vmtest.EndingPoweroff, g.WaitEnding(t))
	e := g.ExpectEntry(t, vmtest.JournalQuery{Match: []string{"SYSLOG_IDENTIFIER=demo"}})
	assert.Equal(t, "before the end", e.Message)
}

// journalctl may overlook an entry that it comes upon while journald adds it.
func TestJournalOfAFileThatIsTouched(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	g.Run(t, "sh", "-c", `perl -e 'while (1) { utime undef, undef, @ARGV }' /???/log/journal/*/system.journal >/dev/null 2>&1 &`)
	for n := range 60 {
		text := fmt.Sprintf("entry %d.", n)
		g.Run(t, "logger", text)
		require.Len(t, g.Journal(t, vmtest.JournalQuery{Contains: text}), 1)
	}
}
