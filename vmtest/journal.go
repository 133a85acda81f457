package vmtest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// JournalQuery selects entries of the guest's journal, of this boot. The zero value
// selects all of them.
type JournalQuery struct {
	// Unit selects the entries of this unit, and those about it from others: from systemd
	// and from the processes in which it prepares the unit (UNIT=), from authorized
	// daemons (OBJECT_SYSTEMD_UNIT=), and about core dumps (COREDUMP_UNIT=). It is a full
	// name and not a pattern.
	Unit string
	// Match selects entries by their fields. Each is FIELD=value. An entry must have one
	// of the values of each field that is named; "+" begins an alternative to all before.
	Match []string
	After string // a cursor: selects the entries after the one that has it
	Last  int    // selects the last entries, at most this many; 0 selects all
}

// Entry is one entry of the guest's journal. Its text is untrusted.
type Entry struct {
	Time    time.Time
	Cursor  string
	Message string
	// Fields has all fields by name (systemd.journal-fields(7)). Of a field that occurs
	// more than once it has the last value.
	Fields map[string]string
}

// String returns the entry in one line, as journalctl's short output has it, safe to
// print.
func (e Entry) String() string { return systemd.Entry(e).String() }

// Journal returns the entries that q selects, oldest first. It first makes journald write
// what it has received, so that a line that was logged before the call is there.
func (m *Machine) Journal(ctx context.Context, q JournalQuery) ([]Entry, error) {
	found, err := m.journal().Entries(ctx, systemd.Query(q))
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(found))
	for i, e := range found {
		entries[i] = Entry(e)
	}
	return entries, nil
}

// WaitJournal returns the first entry that q selects and match accepts, among those that
// are there and those still to come, until ctx ends. A nil match accepts all.
func (m *Machine) WaitJournal(ctx context.Context, q JournalQuery, match func(Entry) bool) (Entry, error) {
	e, err := m.journal().Wait(ctx, systemd.Query(q), func(e systemd.Entry) bool { return match == nil || match(Entry(e)) })
	return Entry(e), err
}

func (m *Machine) journal() systemd.Journal {
	j := systemd.Journal{Run: m.system().runTo}
	if m.user != nil {
		j.User = &m.user.UID
	}
	return j
}

// runTo runs a command that must exit with 0, and writes its standard output to stdout.
func (m *Machine) runTo(ctx context.Context, args []string, stdout io.Writer) error {
	_, err := m.run(ctx, Command{Args: args, Stdout: stdout})
	if err != nil && !isExit(err) && !errors.As(err, new(*StartError)) {
		err = errors.Unwrap(err) // without the command, which the caller did not choose
	}
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		return errors.Join(cause, err)
	}
	return err
}

// Journal returns the journal entries that q selects, oldest first, as Machine.Journal.
func (g *Guest) Journal(t testing.TB, q JournalQuery) []Entry {
	t.Helper()
	return get(t, g, func(ctx context.Context) ([]Entry, error) { return g.Machine.Journal(ctx, q) })
}

// WaitJournal returns the first entry, there already or still to come, that q selects and
// match accepts, as Machine.WaitJournal.
func (g *Guest) WaitJournal(t testing.TB, q JournalQuery, match func(Entry) bool) Entry {
	t.Helper()
	return get(t, g, func(ctx context.Context) (Entry, error) { return g.Machine.WaitJournal(ctx, q, match) })
}
