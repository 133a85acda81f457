package vmtest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/journal"
)

// EntryError reports that the guest's journal does not have what was expected of it.
type EntryError struct {
	Query   JournalQuery
	Problem string // what is wrong, with the words of Query
	// Near has the last entries of the units that Query names, after its cursor. If it
	// names none, they are the last entries of the journal.
	Near []Entry
	// Losses has what is known about entries that did not come; see JournalLosses.
	Losses []string
}

// Error returns the problem on the first line, and losses and entries on those below it.
func (e *EntryError) Error() string {
	var b strings.Builder
	b.WriteString(e.Problem)
	for _, loss := range e.Losses {
		b.WriteString("\nthe journal is not whole: " + loss)
	}
	if len(e.Near) == 0 {
		b.WriteString("\nthe journal has no entry near it")
	}
	for _, entry := range e.Near {
		b.WriteString("\n  | " + entry.String())
	}
	return tail.Printable(b.String())
}

// nearEntries is how many entries an EntryError has.
const nearEntries = 10

// entryError returns the error of an expectation, with the entries near to it.
func (m *Machine) entryError(ctx context.Context, q JournalQuery, problem string) error {
	near := JournalQuery{Unit: q.Unit, By: q.By, About: q.About, After: q.After, EarlierBoots: q.EarlierBoots, Last: nearEntries}
	entries, err := m.Journal(ctx, near)
	if err != nil {
		return fmt.Errorf("%s; %w", problem, err)
	}
	return &EntryError{Query: q, Problem: problem, Near: entries, Losses: m.vm.Journal().LossesAfter(q.After)}
}

// String names what q selects, as in "an entry of demo.service that contains "ready"".
func (q JournalQuery) String() string { return journal.Query(q).String() }

// ExpectEntry returns the first entry that q selects of those that were logged before the
// call. It does not wait for one; WaitJournal does. If there is none, the error is an
// *[EntryError].
func (m *Machine) ExpectEntry(ctx context.Context, q JournalQuery) (Entry, error) {
	found, err := m.Journal(ctx, q)
	if err != nil {
		return Entry{}, err
	}
	if len(found) == 0 {
		return Entry{}, m.entryError(ctx, q, fmt.Sprintf("the journal does not have %s", q))
	}
	return found[0], nil
}

// ExpectNoEntry fails if q selects an entry of those that were logged before the call, or if
// some may be missing. The error is an *[EntryError].
func (m *Machine) ExpectNoEntry(ctx context.Context, q JournalQuery) error {
	found, err := m.Journal(ctx, q)
	if err != nil {
		return err
	}
	switch losses := m.vm.Journal().LossesAfter(q.After); {
	case len(found) > 0:
		return m.entryError(ctx, q, fmt.Sprintf("the journal has %s: %s", q, found[0]))
	case len(losses) > 0:
		return m.entryError(ctx, q, fmt.Sprintf("the journal may have had %s", q))
	}
	return nil
}

// ExpectOrder returns an entry for each query, each the first one after the entry before it.
// If one is missing there, the error is an *[EntryError] that names it.
func (m *Machine) ExpectOrder(ctx context.Context, queries ...JournalQuery) ([]Entry, error) {
	var found []Entry
	for i, q := range queries {
		if i > 0 {
			q.After = found[i-1].Cursor
		}
		e, err := m.ExpectEntry(ctx, q)
		if missing, ok := err.(*EntryError); ok && i > 0 {
			missing.Problem += " after " + found[i-1].String()
		}
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	return found, nil
}

// ExpectEntry returns the first entry that q selects of those that were logged before the
// call, as Machine.ExpectEntry. WaitJournal waits for one.
func (g *Guest) ExpectEntry(t testing.TB, q JournalQuery) Entry {
	t.Helper()
	return get(t, g, func(ctx context.Context) (Entry, error) { return g.Machine.ExpectEntry(ctx, q) })
}

// ExpectNoEntry fails the test if q selects an entry, as Machine.ExpectNoEntry.
func (g *Guest) ExpectNoEntry(t testing.TB, q JournalQuery) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.ExpectNoEntry(ctx, q) })
}

// ExpectOrder returns an entry for each query, one after the other, as Machine.ExpectOrder.
func (g *Guest) ExpectOrder(t testing.TB, queries ...JournalQuery) []Entry {
	t.Helper()
	return get(t, g, func(ctx context.Context) ([]Entry, error) { return g.Machine.ExpectOrder(ctx, queries...) })
}
