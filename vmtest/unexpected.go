package vmtest

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/journal"
)

// Unexpected returns what the journal has since the machine began that the caller has not
// announced, and what it announced that did not come true, a line each:
//
//   - a unit that failed (AnnounceFailure),
//   - a core dump, an oops or a warning of the kernel, a process that was killed for lack of
//     memory, a job that systemd dropped because of an ordering cycle (AnnounceEntry),
//   - an entry of priority err or worse by or about a unit under test (AnnounceEntry): one
//     that was named to Unit, Enable, EnableNow or StartTransient, or whose file was written
//     by Copy, CopyFS, WriteFile or WriteDropIn, or is of a package of Config.Debs or
//     InstallDeb; in a fork, also before the snapshot,
//   - entries that were lost; see JournalLosses.
//
// A test fails at its end with these lines, or logs them if Config.LogUnexpected is set. It
// does not look at a machine that it made a Snapshot of. A guest that does not answer any
// more has only what had arrived from it.
func (m *Machine) Unexpected(ctx context.Context) ([]string, error) {
	if err := m.vm.SyncJournal(ctx); err != nil {
		return m.unexpected(new(inspection), false), public(err)
	}
	ask := &inspection{ctx: ctx, machine: m}
	return m.unexpected(ask, true), public(ask.err)
}

// unexpected is Unexpected for what has arrived. An announcement may still come true if that
// is not the whole journal, or if ask got no answer.
func (m *Machine) unexpected(ask *inspection, whole bool) []string {
	a, from := m.announced, m.vm.Origin()
	entries, _ := m.vm.Journal().Since(from, math.MaxInt)
	a.mu.Lock()
	defer a.mu.Unlock()
	packages := slices.Clone(a.packages)
	for _, deb := range m.Image().Debs {
		packages = append(packages, deb.Name)
	}
	findings := journal.Findings(entries, func(unit journal.UnitID) bool {
		return a.isTested(unit.UID, unit.Name) || a.isTested(unit.UID, ask.names(unit)...) || ask.packaged(unit, packages)
	})
	v := verdict{a, findings, make(map[string]bool), make([]int, len(a.entries)), ask.names}
	for i, e := range a.entries {
		found, err := journal.Query(e.query).Of(entries, e.user)
		if err != nil {
			continue // reported as unmet
		}
		for _, entry := range found {
			v.expected[entry.Cursor] = true
			v.selected[i]++
		}
	}
	var texts []string
	for _, f := range findings {
		if !v.expects(f) {
			texts = append(texts, f.String())
		}
	}
	if whole && ask.err == nil {
		texts = append(texts, v.unmet()...)
	}
	for _, loss := range m.vm.Journal().Losses(from) {
		texts = append(texts, "the journal is not whole: "+loss)
	}
	return texts
}

// mostUnexpected bounds the lines that a test shows of what is unexpected.
const mostUnexpected = 20

// judge fails a test at its end, or logs, for what is unexpected in its guest.
func (g *Guest) judge(t testing.TB) {
	t.Helper()
	if g.Machine.vm.Saved() {
		return
	}
	test, cancel := testContext(t)
	defer cancel()
	ctx, cancel := deadline.Within(test, deadline.Limit{What: "no answer", Time: deadline.Reserve / 2, Pace: g.Machine.vm.Pace})
	defer cancel()
	lines, err := g.Machine.Unexpected(ctx)
	if err != nil { // which is the test's own affair
		t.Logf("what is unexpected in the guest is not known to the end: %v", err)
	}
	if len(lines) == 0 {
		return
	}
	if rest := len(lines) - mostUnexpected; rest > 0 {
		lines = append(lines[:mostUnexpected], "and more")
	}
	text := "unexpected in the guest (see Machine.Unexpected):\n  | " + strings.Join(lines, "\n  | ")
	if g.Machine.config.LogUnexpected {
		t.Log(text)
		return
	}
	t.Error(text)
}
