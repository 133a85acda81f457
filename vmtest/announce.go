package vmtest

import (
	"slices"
	"sync"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// announced is what a test announced of a machine, and the units that it works with. All
// views of a machine share it.
type announced struct {
	mu       sync.Mutex
	failures []announcedFailure
	entries  []announcedEntry
	tested   map[string]bool // by unitKey
	packages []string        // that InstallDeb installed
}

// announcedFailure is a unit that fails.
type announcedFailure struct {
	unit journal.UnitID
	may  bool // or may not fail
}

// announcedEntry is a query that selects an entry.
type announcedEntry struct {
	query JournalQuery
	user  *uint32
	may   bool // or may select none
}

// AnnounceFailure announces that a unit fails, so that a test does not fail for it at its
// end. It may come before the failure or after it, and covers all failures of the unit since
// the machine began, with what systemd logs about them. It does not cover what the unit itself
// logs, nor a core dump; AnnounceEntry does. If the unit does not fail, the test fails at its
// end; see AllowFailure. The name of a template, such as "demo@.service", stands for its
// instances, and an alias for its unit. On a machine of AsUser the unit is one of the user's.
//
// A test that waits for a unit to be "failed", or gets a [UnitError] of one, has announced
// that failure.
func (m *Machine) AnnounceFailure(unit string) error { return m.announceFailure(unit, false) }

// AllowFailure is AnnounceFailure for a unit that may fail and may not.
func (m *Machine) AllowFailure(unit string) error { return m.announceFailure(unit, true) }

func (m *Machine) announceFailure(unit string, may bool) error {
	if err := systemd.CheckUnitName(unit); err != nil {
		return public(err)
	}
	m.announced.fails(announcedFailure{m.unitID(unit), may})
	return nil
}

// AnnounceEntry announces that the journal has entries that q selects, since the machine
// began, so that a test does not fail for one of them at its end: an error that a unit logs,
// or a warning of the kernel. If there is none, the test fails at its end; see AllowEntry.
func (m *Machine) AnnounceEntry(q JournalQuery) error { return m.announceEntry(q, false) }

// AllowEntry is AnnounceEntry for entries that may come and may not.
func (m *Machine) AllowEntry(q JournalQuery) error { return m.announceEntry(q, true) }

func (m *Machine) announceEntry(q JournalQuery, may bool) error {
	if err := q.check(); err != nil {
		return err
	}
	a := m.announced
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries = append(a.entries, announcedEntry{q, m.userID(), may})
	return nil
}

func (a *announced) fails(f announcedFailure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failures = append(a.failures, f)
}

// seeFailure notes that the test has seen that a unit failed. It does not say when.
func (a *announced) seeFailure(unit journal.UnitID) { a.fails(announcedFailure{unit, true}) }

// of reports whether a failure of the unit, which has these other names, was announced.
func (f announcedFailure) of(unit journal.UnitID, names []string) bool {
	stands := func(name string) bool { return f.unit.Name == name || f.unit.Name == systemd.TemplateOf(name) }
	return f.unit.UID == unit.UID && (stands(unit.Name) || slices.ContainsFunc(names, stands))
}

// verdict compares what is in a journal with what was announced.
type verdict struct {
	*announced // locked
	findings   []journal.Finding
	expected   map[string]bool               // entries that were announced, by cursor
	selected   []int                         // how many entries each of announced.entries selects
	names      func(journal.UnitID) []string // returns the other names of a unit
}

// expects reports whether a finding was announced.
func (v *verdict) expects(f journal.Finding) bool {
	if v.expected[f.Entry.Cursor] {
		return true
	}
	// What systemd says about a unit that fails belongs to its failure. What the unit itself
	// logs does not.
	if f.Unit.Name == "" || !f.Failed && !f.About() {
		return false
	}
	known := func(names []string) bool {
		return slices.ContainsFunc(v.failures, func(a announcedFailure) bool { return a.of(f.Unit, names) })
	}
	return known(nil) || known(v.names(f.Unit))
}

// unmet returns the announcements that did not come true.
func (v *verdict) unmet() []string {
	var texts []string
	for _, a := range v.failures {
		failed := func(names func(journal.UnitID) []string) bool {
			return slices.ContainsFunc(v.findings, func(f journal.Finding) bool { return f.Failed && a.of(f.Unit, names(f.Unit)) })
		}
		if !a.may && !failed(func(journal.UnitID) []string { return nil }) && !failed(v.names) {
			texts = append(texts, a.unit.String()+" did not fail, as AnnounceFailure announced")
		}
	}
	for i, a := range v.entries {
		if !a.may && v.selected[i] == 0 {
			texts = append(texts, "the journal does not have "+a.query.String()+", as AnnounceEntry announced")
		}
	}
	return texts
}

// AnnounceFailure announces that a unit fails, so that the test does not fail for it at its
// end, as Machine.AnnounceFailure.
func (g *Guest) AnnounceFailure(t testing.TB, unit string) {
	t.Helper()
	if err := g.Machine.AnnounceFailure(unit); err != nil {
		fail(t, err)
	}
}

// AllowFailure says that a unit may fail, as Machine.AllowFailure.
func (g *Guest) AllowFailure(t testing.TB, unit string) {
	t.Helper()
	if err := g.Machine.AllowFailure(unit); err != nil {
		fail(t, err)
	}
}

// AnnounceEntry announces entries of the journal, as Machine.AnnounceEntry.
func (g *Guest) AnnounceEntry(t testing.TB, q JournalQuery) {
	t.Helper()
	if err := g.Machine.AnnounceEntry(q); err != nil {
		fail(t, err)
	}
}

// AllowEntry says that entries of the journal may come, as Machine.AllowEntry.
func (g *Guest) AllowEntry(t testing.TB, q JournalQuery) {
	t.Helper()
	if err := g.Machine.AllowEntry(q); err != nil {
		fail(t, err)
	}
}
