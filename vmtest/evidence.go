package vmtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

const (
	// journalRead is the most entries of the journal that the evidence is made of, and
	// journalShown the most lines that it shows of them.
	journalRead  = 2000
	journalShown = 30

	// consoleShown is the most lines of the console that the evidence shows.
	consoleShown = 20

	// coresShown is the most core dumps that the evidence shows.
	coresShown = 3
)

// summarize returns what a guest shows about a failure: the units that failed on top, and
// below them what systemd and the journal have. A guest that is gone or stuck yields its
// console and the journal that had arrived. summarize uses the time that is kept back for
// evidence, also after ctx has ended.
func summarize(ctx context.Context, m *Machine) *summary {
	ctx, cancel := evidenceTime(ctx)
	defer cancel()
	r := &summary{title: fmt.Sprintf("evidence from %s (%s, systemd %s, %s)",
		tail.Printable(cmp.Or(m.config.Hostname, "the guest")), m.Image().Title(), m.Image().SystemdVersion, m.vm.Spec().Files.Accel)}
	h := m.vm.Examine()
	r.answers, r.pid1, r.health = h.Answers(), h.PID1Answers(), h.String()
	if !h.Answers() || !h.PID1Answers() || h.Victim != "" {
		r.notes = append(r.notes, h.String())
	}
	whole := r.journal(ctx, m, h.Answers())
	if h.Answers() && h.PID1Answers() {
		r.addCores(ctx, m)
	}
	if h.PID1Answers() {
		whole = r.units(ctx, m) && whole
	}
	if !whole {
		r.console = m.vm.ConsoleEnd(consoleShown)
	}
	return r
}

// evidenceTime returns a context of the time that is kept back for evidence.
func evidenceTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return deadline.Within(deadline.ForEvidence(ctx), deadline.Limit{What: "no evidence", Time: deadline.Reserve * 3 / 4})
}

// summary is what the log of a failed test shows of its guest.
type summary struct {
	title         string
	answers, pid1 bool                    // the guest's agent did, and its PID 1
	health        string                  // what a look at the guest found
	notes         []string                // lines for the top
	cores         []guest.Core            // the first of them are in notes
	failed        []journal.Failure       // according to the journal
	looks         map[string]systemd.Look // at units that failed or have a job
	parts         []string                // sections, from the top
	console       []string                // of a guest that does not answer
	entries       []journal.Entry         // of the journal, which comes last
	journalTitle  string
}

// verdict returns the first lines of the summary.
func (r *summary) verdict() []string {
	lines := append([]string{r.title}, r.notes...)
	for _, f := range r.failed {
		line := f.String()
		if f.Unit.UID == "" {
			line += lookText(r.looks[f.Unit.Name])
		}
		lines = append(lines, line)
	}
	return lines
}

// String returns the summary. Its first lines are the verdict.
func (r *summary) String() string { return r.without(nil) }

// without returns the summary without the lines that the log of the test has already.
func (r *summary) without(s *shown) string {
	var b strings.Builder
	b.WriteString(strings.Join(r.verdict(), "\n"))
	for _, part := range r.parts {
		b.WriteString(part)
	}
	console := s.leaveOut(r.console)
	b.WriteString(indented(fmt.Sprintf("console, %d lines", len(console)), console))
	b.WriteString(r.journalText(s))
	if b.Len() == len(r.title) {
		b.WriteString(": nothing has failed there, and the journal has no more lines")
	}
	return b.String()
}

// journalText returns the section of the journal.
func (r *summary) journalText(s *shown) string {
	brief := journal.Brief(r.entries)
	entries := slices.DeleteFunc(slices.Clone(brief), func(e journal.Entry) bool { return s.has(e.String()) })
	title := r.journalTitle
	if len(entries) < len(brief) {
		title += ", without the lines above"
	}
	lines := journal.Lines(slices.DeleteFunc(entries, func(e journal.Entry) bool { return journal.OfReload(e) || journal.OfClock(e) }))
	if len(lines) > journalShown {
		lines = lines[len(lines)-journalShown:]
		title += fmt.Sprintf(", last %d lines", journalShown)
	}
	return indented(title, lines)
}

// section adds lines under a title, if there are any.
func (r *summary) section(title string, lines []string) {
	r.parts = append(r.parts, indented(title, lines))
}

// missing notes that there is no answer for a section. The console of a guest that is
// gone is not shown here.
func (r *summary) missing(title string, err error) {
	if gone, ok := errors.AsType[*GuestError](err); ok {
		err = gone.Err
	}
	r.notes = append(r.notes, fmt.Sprintf("%s: %v", title, err))
}

// journal adds what was logged since the machine began, and the units that failed
// according to that. If the guest does not answer, that is what had arrived from it.
func (r *summary) journal(ctx context.Context, m *Machine, answers bool) (whole bool) {
	title := "journal since the test began"
	whole = answers
	if answers {
		if err := m.vm.SyncJournal(ctx); err != nil {
			r.missing("journal", public(err))
			whole = false
		}
	}
	if !whole {
		title += ", as far as it arrived"
	}
	entries, all := m.vm.Journal().Since(m.vm.Origin(), journalRead)
	r.entries = slices.DeleteFunc(entries, journal.OfSync)
	r.notes = append(r.notes, m.vm.Journal().Losses(m.vm.Origin())...)
	r.failed = journal.Failures(r.entries)
	if !all {
		title += fmt.Sprintf(", last %d entries", journalRead)
	}
	r.journalTitle = title
	return whole
}

// addCores adds the core dumps of units.
func (r *summary) addCores(ctx context.Context, m *Machine) {
	var err error
	if r.cores, err = m.cores(ctx, r.entries); err != nil {
		r.missing("core dumps", public(err))
	}
	r.notes = append(r.notes, linesOf(r.cores[:min(len(r.cores), coresShown)], coreLine)...)
}

// units adds what systemd shows of units, and reports whether it answered.
func (r *summary) units(ctx context.Context, m *Machine) bool {
	var names []string
	for _, f := range r.failed {
		if f.Unit.UID == "" {
			names = append(names, f.Unit.Name)
		}
	}
	o, err := m.vm.Overview(ctx, names)
	r.looks = o.Looks
	whole := r.overview("", o, err)
	for _, uid := range m.vm.Users() {
		o, err := m.vm.UserUnits(uid).Overview(ctx, nil)
		r.overview(fmt.Sprint(uid), o, err)
	}
	return whole
}

// overview adds o, which is all that was read before err, of the system or of the user of a
// UID. It reports whether o is whole.
func (r *summary) overview(uid string, o systemd.Overview, err error) bool {
	of := ""
	if uid != "" {
		of = " of UID " + uid
	}
	failed := slices.DeleteFunc(slices.Clone(o.Failed), func(u systemd.ListedUnit) bool { // those above
		return slices.ContainsFunc(r.failed, func(f journal.Failure) bool { return f.Unit == journal.UnitID{Name: u.Name, UID: uid} })
	})
	r.section("failed units"+of, linesOf(failed, failedLine))
	r.section("jobs"+of, linesOf(o.Jobs, func(j systemd.Job) string { return jobLine(j) + lookText(o.Looks[j.Unit]) }))
	r.section("sockets"+of, linesOf(o.Sockets, socketLine))
	if err != nil {
		title := "units" + of
		if len(o.Failed)+len(o.Jobs)+len(o.Sockets)+len(o.Looks) > 0 {
			title += ", in part"
		}
		r.missing(title, public(err))
	}
	return err == nil
}

// indented returns lines under a title, or "" if there are none.
func indented(title string, lines []string) string {
	text := tail.Printable(strings.TrimSpace(strings.Join(lines, "\n")))
	if text == "" {
		return ""
	}
	return fmt.Sprintf("\n%s:\n%s", title, quote+strings.ReplaceAll(text, "\n", "\n"+quote))
}
