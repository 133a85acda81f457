package vmtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

const (
	// journalRead is the most entries of the journal that the evidence is made of, and
	// journalShown the most lines that it shows of them.
	journalRead  = 2000
	journalShown = 60

	// consoleShown is the most lines of the console that the evidence shows.
	consoleShown = 50
)

// summarize returns what a guest shows about a failure: the units that failed on top, and
// below them what systemd and the journal have. A guest that is gone or stuck yields its
// console and the journal that had arrived. summarize uses the time that is kept back for
// evidence, also after ctx has ended.
func summarize(ctx context.Context, m *Machine) *summary {
	ctx, cancel := evidenceTime(ctx)
	defer cancel()
	r := &summary{title: fmt.Sprintf("evidence from the guest (%s, systemd %s, %s)", m.Image().Title(), m.Image().SystemdVersion, m.vm.Spec().Files.Accel)}
	h := m.vm.Examine()
	r.answers, r.pid1, r.health = h.Answers(), h.PID1Answers(), h.String()
	if !h.Answers() || !h.PID1Answers() || h.Victim != "" {
		r.notes = append(r.notes, h.String())
	}
	whole := r.journal(ctx, m, h.Answers())
	if h.PID1Answers() {
		whole = r.units(ctx, m) && whole
	}
	if !whole {
		r.section(fmt.Sprintf("console, last %d lines", consoleShown), m.vm.Console().Lines(consoleShown))
	}
	return r
}

// evidenceTime returns a context of the time that is kept back for evidence.
func evidenceTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return deadline.Within(deadline.ForEvidence(ctx), deadline.Limit{What: "no evidence", Time: deadline.Reserve * 3 / 4})
}

// summary is what the log of a failed test shows of its guest.
type summary struct {
	title   string
	answers bool                    // the guest's agent did
	pid1    bool                    // PID 1 did
	health  string                  // what a look at the guest found
	notes   []string                // lines for the top
	failed  []journal.Failure       // according to the journal
	looks   map[string]systemd.Look // at units that failed
	parts   []string                // sections, from the top
	end     string                  // the section of the journal, which comes last
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
func (r *summary) String() string {
	var b strings.Builder
	b.WriteString(strings.Join(r.verdict(), "\n"))
	for _, part := range append(r.parts, r.end) {
		b.WriteString(part)
	}
	if b.Len() == len(r.title) {
		b.WriteString(": nothing has failed there, and the journal has no line")
	}
	return b.String()
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
	entries = slices.DeleteFunc(entries, journal.OfSync)
	r.notes = append(r.notes, m.vm.Journal().Losses(m.vm.Origin())...)
	r.failed = journal.Failures(entries)
	lines := journal.Lines(entries)
	switch {
	case len(lines) > journalShown:
		lines = lines[len(lines)-journalShown:]
		title += fmt.Sprintf(", last %d lines", journalShown)
	case !all:
		title += fmt.Sprintf(", last %d entries", journalRead)
	}
	r.end = indented(title, lines)
	return whole
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
		r.overview(fmt.Sprintf(" of UID %d", uid), o, err)
	}
	return whole
}

// overview adds o, which is all that was read before err, with of in the titles. It reports
// whether o is whole.
func (r *summary) overview(of string, o systemd.Overview, err error) bool {
	r.section("failed units"+of, linesOf(o.Failed, failedLine))
	r.section("jobs"+of, linesOf(o.Jobs, jobLine))
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
	return fmt.Sprintf("\n%s:\n  | %s", title, strings.ReplaceAll(text, "\n", "\n  | "))
}
