package vmtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// JournalQuery selects entries of the guest's journal. The zero value selects all entries
// of the present boot. Of a machine's fork that includes those from before the fork.
type JournalQuery struct {
	// Unit selects the entries of this unit, and those about it from others: from systemd
	// and from the processes in which it prepares the unit (UNIT=), from authorized
	// daemons (OBJECT_SYSTEMD_UNIT=), and about core dumps (COREDUMP_UNIT=). It is a full
	// name, and no pattern; a template's, such as "echo@.service", is all its instances.
	Unit string
	// By selects what this unit logged itself, and About what others logged about it.
	// Together they are Unit.
	By, About string
	// Match selects entries by their fields. Each is FIELD=value. An entry must have one
	// of the values of each field that is named; "+" begins an alternative to all before.
	Match []string
	// Contains selects entries whose message has this text.
	Contains string
	After    string // a cursor, as of JournalEnd: selects the entries after it
	Last     int    // selects the last entries, at most this many; 0 selects all
	// EarlierBoots also selects entries from before a Reboot.
	EarlierBoots bool
}

// Entry is one entry of the guest's journal. Its text is untrusted.
type Entry struct {
	Time      time.Time     // by the guest's clock, as journald received it
	Monotonic time.Duration // since the boot
	Boot      string        // the boot's ID
	Cursor    string
	// Unit is the unit whose process logged the entry: a unit of a user's systemd, or else
	// one of the system's.
	Unit string
	// About is the unit that the entry is about according to another process, or "".
	About string
	// Invocation is the run of About, or else of Unit, that the entry belongs to: an ID
	// (INVOCATION_ID in systemd.exec(5)), or "".
	Invocation string
	Priority   int    // as in syslog(3): 0 is an emergency, 3 an error, 7 for debugging; -1 if there is none
	Identifier string // such as the program's name (SYSLOG_IDENTIFIER=)
	PID        int    // 0 if there is none, as for the kernel's
	MessageID  string // the kind of message (MESSAGE_ID=), or ""
	Message    string
	// Fields has all values of all fields by name (systemd.journal-fields(7)).
	Fields map[string][][]byte
}

// Field returns the last value of a field, or "" if the entry does not have it.
func (e Entry) Field(name string) string { return journal.Entry(e).Field(name) }

// String returns the entry in one line, as journalctl's short output has it, safe to
// print.
func (e Entry) String() string { return journal.Entry(e).String() }

// Journal returns the entries that q selects, oldest first. What was logged before the call
// is there. After the guest's end it returns what had arrived from the guest by then: up to a
// quarter of a second may be missing, because journald tells its readers no earlier.
//
// The host keeps the last 128 MiB of a machine's journal; see JournalLosses.
func (m *Machine) Journal(ctx context.Context, q JournalQuery) ([]Entry, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if err := m.vm.SyncJournal(ctx); err != nil {
		return nil, public(err)
	}
	found, err := m.vm.Journal().Select(journal.Query(q), m.userID())
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(found))
	for i, e := range found {
		entries[i] = Entry(e)
	}
	return entries, nil
}

// JournalEnd returns the cursor of the last entry, for JournalQuery.After: it stands for
// this point, after all that was logged before the call. It is "" if there is no entry.
func (m *Machine) JournalEnd(ctx context.Context) (string, error) {
	if err := m.vm.SyncJournal(ctx); err != nil {
		return "", public(err)
	}
	return m.vm.Journal().Last(), nil
}

// JournalLosses returns what is known about entries since the machine began that should
// have come and did not, a line each: those that journald did not take ("Suppressed 7
// messages from demo.service", see RateLimitBurst= in journald.conf(5)), those that the
// guest removed before they were read (journalctl --vacuum-size), and those that this host
// dropped or cut: it keeps the last 128 MiB of a machine's journal, and the last 16 MiB of what
// a snapshot's machine logged, and leaves out fields that make an entry larger than 16 MiB.
// JournalQuery.After may be before the machine began; ExpectNoEntry heeds losses there too.
func (m *Machine) JournalLosses() []string { return m.vm.Journal().Losses(m.vm.Origin()) }

// WaitJournal returns the first entry that q selects and match accepts, among those that
// are there and those still to come, until ctx ends. A nil match accepts all. An entry
// arrives up to a quarter of a second after it was logged.
func (m *Machine) WaitJournal(ctx context.Context, q JournalQuery, match func(Entry) bool) (Entry, error) {
	if err := q.check(); err != nil {
		return Entry{}, err
	}
	e, err := m.vm.WaitJournal(ctx, journal.Query(q), m.userID(), func(e journal.Entry) bool { return match == nil || match(Entry(e)) })
	return Entry(e), public(err)
}

func (q JournalQuery) check() error {
	for _, unit := range []string{q.Unit, q.By, q.About} {
		if unit == "" {
			continue
		}
		if err := systemd.CheckUnitName(unit); err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
	}
	return nil
}

// userID returns the UID of the user whose units calls are about, or nil.
func (m *Machine) userID() *uint32 {
	if m.user == nil {
		return nil
	}
	return &m.user.UID
}

// Journal returns the journal entries that q selects, oldest first, as Machine.Journal.
func (g *Guest) Journal(t testing.TB, q JournalQuery) []Entry {
	t.Helper()
	return get(t, g, func(ctx context.Context) ([]Entry, error) { return g.Machine.Journal(ctx, q) })
}

// JournalEnd returns the cursor of the last entry, as Machine.JournalEnd.
func (g *Guest) JournalEnd(t testing.TB) string {
	t.Helper()
	return get(t, g, g.Machine.JournalEnd)
}

// WaitJournal returns the first entry, there already or still to come, that q selects and
// match accepts, as Machine.WaitJournal.
func (g *Guest) WaitJournal(t testing.TB, q JournalQuery, match func(Entry) bool) Entry {
	t.Helper()
	return get(t, g, func(ctx context.Context) (Entry, error) { return g.Machine.WaitJournal(ctx, q, match) })
}
