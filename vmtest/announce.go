package vmtest

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// announced is what a test announced of a machine, and the units that it works with. All
// views of a machine share it.
type announced struct {
	mu       sync.Mutex
	failures []string       // units that are to fail
	seen     []string       // units whose failure the test has seen
	entries  []JournalQuery // each is to select an entry
	users    []*uint32      // of each of entries
	tested   map[string]bool
}

// AnnounceFailure announces that a unit fails, so that a test does not fail for it at its
// end. It may come before the failure or after it, and covers all failures of the unit since
// the machine began, with what systemd logs about them. It does not cover what the unit itself
// logs, nor a core dump; AnnounceEntry does. If the unit does not fail, the test fails at its
// end. The name of a template, such as "demo@.service", stands for its instances.
//
// A test that waits for a unit to be "failed", or gets a [UnitError] of one, has announced
// that failure.
func (m *Machine) AnnounceFailure(unit string) error {
	if err := systemd.CheckUnitName(unit); err != nil {
		return err
	}
	a := m.announced
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failures = append(a.failures, unit)
	return nil
}

// AnnounceEntry announces that the journal has entries that q selects, since the machine
// began, so that a test does not fail for one of them at its end: an error that a unit logs,
// or a warning of the kernel. If there is none, the test fails at its end.
func (m *Machine) AnnounceEntry(q JournalQuery) error {
	if err := q.check(); err != nil {
		return err
	}
	a := m.announced
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries, a.users = append(a.entries, q), append(a.users, m.userID())
	return nil
}

// seeFailure notes that the test has seen that a unit failed.
func (a *announced) seeFailure(unit string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, unit)
}

// test notes that a unit is under test.
func (a *announced) test(unit string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tested == nil {
		a.tested = make(map[string]bool)
	}
	a.tested[unit] = true
}

// testFile notes that the unit of a file in the guest is under test, if it is a unit file.
func (a *announced) testFile(guestPath string) {
	dir, name := path.Split(path.Clean(guestPath))
	if parent := path.Base(dir); path.Ext(parent) == ".d" { // name is a drop-in
		name = strings.TrimSuffix(parent, ".d")
	}
	if slices.Contains(systemd.UnitTypes, path.Ext(name)) && strings.Contains(dir, "/systemd/") {
		a.test(name)
	}
}

// testFS notes that the units of all files that are copied to a directory are under test.
func (a *announced) testFS(fsys fs.FS, guestDir string) {
	_ = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			a.testFile(path.Join(guestDir, name))
		}
		return err // the copy reports it
	})
}

// testHost notes that the units of a file or a directory of the host that is copied are under
// test. The copy gets the path, or goes into a directory there.
func (a *announced) testHost(hostPath, guestPath string) {
	info, err := os.Stat(hostPath)
	if err != nil {
		return // the copy reports it
	}
	for _, to := range []string{guestPath, path.Join(guestPath, filepath.Base(hostPath))} {
		if info.IsDir() {
			a.testFS(os.DirFS(hostPath), to)
		} else {
			a.testFile(to)
		}
	}
}

// allTested returns the units under test, for the forks of a snapshot.
func (a *announced) allTested() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.tested))
}

// setTested notes that units are under test, as allTested returned them.
func (a *announced) setTested(units []string) {
	for _, unit := range units {
		a.test(unit)
	}
}

// isTested reports whether a unit is under test.
func (a *announced) isTested(unit string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tested[unit] || a.tested[systemd.TemplateOf(unit)]
}

// isUnit reports whether a name stands for a unit.
func isUnit(name, unit string) bool { return name == unit || name == systemd.TemplateOf(unit) }

// expects reports whether a finding was announced.
func (a *announced) expects(f journal.Finding, expected map[string]bool) bool {
	if expected[f.Entry.Cursor] {
		return true
	}
	stands := func(name string) bool { return isUnit(name, f.Unit) }
	known := slices.ContainsFunc(a.failures, stands) || slices.ContainsFunc(a.seen, stands)
	// What systemd says about a unit that fails belongs to its failure. What the unit itself
	// logs does not.
	return known && (f.Failed || f.Entry.About == f.Unit)
}

// unmet returns the announcements that did not come true.
func (a *announced) unmet(findings []journal.Finding, selected []int) []string {
	var texts []string
	for _, name := range a.failures {
		failed := func(f journal.Finding) bool { return f.Failed && isUnit(name, f.Unit) }
		if !slices.ContainsFunc(findings, failed) {
			texts = append(texts, name+" did not fail, as AnnounceFailure announced")
		}
	}
	for i, q := range a.entries {
		if selected[i] == 0 {
			texts = append(texts, "the journal does not have "+q.String()+", as AnnounceEntry announced")
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

// AnnounceEntry announces entries of the journal, as Machine.AnnounceEntry.
func (g *Guest) AnnounceEntry(t testing.TB, q JournalQuery) {
	t.Helper()
	if err := g.Machine.AnnounceEntry(q); err != nil {
		fail(t, err)
	}
}
