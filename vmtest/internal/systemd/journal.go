package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Query selects entries of the guest's journal, of this boot. The zero value selects all
// of them. vmtest.JournalQuery documents the fields.
type Query struct {
	Unit  string
	Match []string
	After string
	Last  int
}

// selection is a Query as journalctl and this package carry it out between them.
type selection struct {
	matches []string // for journalctl
	keep    matches  // for this package, on the entries that journalctl returns
	after   string
	last    int
}

func (j Journal) selection(q Query) (selection, error) {
	s := selection{after: q.After, last: q.Last}
	match, err := parseMatches(q.Match)
	if err != nil {
		return s, err
	}
	if q.Unit == "" {
		s.matches = q.Match
		return s, nil
	}
	if err := CheckUnitName(q.Unit); err != nil {
		return s, err
	}
	// journalctl has no parentheses, so it cannot combine the two lists.
	s.matches, s.keep = aboutUnit(q.Unit), match
	if j.User != nil {
		s.matches = aboutUserUnit(q.Unit, *j.User)
	}
	return s, nil
}

// lastByJournalctl reports whether journalctl can count the last entries. It counts the
// first ones after a cursor, and also those that keep drops.
func (s selection) lastByJournalctl() bool {
	return s.last > 0 && s.after == "" && s.keep == nil
}

func (s selection) args() []string {
	args := []string{"journalctl", "--boot", "--output=json", "--all", "--no-pager"}
	if s.after != "" {
		// With --after-cursor, systemd before 255 drops the first entry that it finds,
		// whether or not that is the cursor's (https://github.com/systemd/systemd/issues/30288).
		args = append(args, "--cursor="+s.after)
	}
	if s.lastByJournalctl() {
		args = append(args, "--lines="+strconv.Itoa(s.last))
	}
	return args
}

// selects reports whether an entry with these fields is selected. Matches for journalctl
// are not looked at again.
func (s selection) selects(fields fields) bool {
	return s.keep.accept(fields) && (s.after == "" || isAfter(fields.last("__CURSOR"), s.after))
}

// wanted names what is selected, for an error.
func (q Query) wanted() string {
	text := "an entry"
	if q.Unit != "" {
		text += " of " + q.Unit
	}
	if len(q.Match) > 0 {
		text += " with " + strings.Join(q.Match, " ")
	}
	return text
}

// Run runs a command in the guest and writes its standard output to stdout.
type Run func(ctx context.Context, args []string, stdout io.Writer) error

// Journal reads the journal of a guest, of this boot, by running journalctl there.
type Journal struct {
	Run  Run
	User *uint32 // UID of the user whose unit a Query names; nil for the system's
}

// Entries returns the entries that q selects, oldest first. It first makes journald write
// what it has received, so that a line that was logged before the call is there.
func (j Journal) Entries(ctx context.Context, q Query) ([]Entry, error) {
	s, err := j.selection(q)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if err := j.sync(ctx); err != nil {
		return nil, err
	}
	var entries []Entry
	err = j.each(ctx, append(s.args(), s.matches...), s.selects, func(e Entry) bool {
		entries = append(entries, e)
		if s.last > 0 && len(entries) >= 2*s.last { // keep memory for the last ones only
			entries = append(entries[:0], entries[len(entries)-s.last:]...)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if s.last > 0 && len(entries) > s.last {
		entries = entries[len(entries)-s.last:]
	}
	return entries, nil
}

func (j Journal) sync(ctx context.Context) error {
	return j.Run(ctx, []string{"journalctl", "--sync"}, io.Discard)
}

// Wait returns the first entry that q selects and match accepts, among those that are
// there and those still to come.
func (j Journal) Wait(ctx context.Context, q Query, match func(Entry) bool) (Entry, error) {
	e, err := j.wait(ctx, q, match)
	if err != nil {
		return Entry{}, fmt.Errorf("wait for %s in the journal: %w", q.wanted(), err)
	}
	return e, nil
}

func (j Journal) wait(ctx context.Context, q Query, match func(Entry) bool) (Entry, error) {
	s, err := j.selection(q)
	if err != nil {
		return Entry{}, err
	}
	if s.last > 0 && !s.lastByJournalctl() {
		// Nothing in journalctl's stream shows which of its entries was there already.
		there, err := j.Entries(ctx, q)
		if err != nil {
			return Entry{}, err
		}
		for _, e := range there {
			if match(e) {
				return e, nil
			}
			s.after = e.Cursor
		}
		s.last = 0
	}
	args := append(s.args(), "--follow")
	if s.last == 0 {
		args = append(args, "--lines=all") // --follow alone begins ten lines before the end
	}
	var last Entry
	seen, matched := 0, false
	err = j.each(ctx, append(args, s.matches...), s.selects, func(e Entry) bool {
		last, matched = e, match(e)
		seen++
		return !matched
	})
	switch {
	case matched:
		return last, nil
	case ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)):
		err = context.Cause(ctx) // journalctl ended because ctx did
	case err == nil:
		err = errors.New("journalctl --follow ended by itself")
	}
	if seen == 0 {
		return Entry{}, fmt.Errorf("%w; there was no such entry", err)
	}
	return Entry{}, fmt.Errorf("%w; of %d such entries none matched, the last is: %s", err, seen, last)
}

// End returns the moment of the last entry.
func (j Journal) End(ctx context.Context) (Moment, error) {
	entries, err := j.Entries(ctx, Query{Last: 1})
	if err != nil || len(entries) == 0 {
		return Moment{}, err
	}
	return momentOf(entries[0]), nil
}

// Since returns the entries after a moment, oldest first, but at most the last most of
// them, and whether those are all. The fields of an entry are those that a Failure or a
// line is made of.
func (j Journal) Since(ctx context.Context, begin Moment, most int) (entries []Entry, all bool, err error) {
	if err := j.sync(ctx); err != nil {
		return nil, false, err
	}
	all = true
	args := []string{"journalctl", "--boot", "--output=json", "--all", "--no-pager", "--quiet",
		"--reverse", "--output-fields=" + strings.Join(lineFields, ",")}
	err = j.each(ctx, args, nil, func(e Entry) bool {
		switch {
		case begin.includes(e):
			return false
		case len(entries) == most:
			all = false
			return false
		case ofSync(e):
			return true
		}
		entries = append(entries, e)
		return true
	})
	slices.Reverse(entries)
	return entries, all, err
}

// ofSync reports whether journald logged e because of a journalctl --sync, as this package
// runs it.
func ofSync(e Entry) bool {
	return e.Fields["SYSLOG_IDENTIFIER"] == "systemd-journald" && strings.HasPrefix(e.Message, "Received client request to sync journal")
}

// errEnough ends the journalctl that is not to return more entries.
var errEnough = errors.New("no more entries are needed")

// each runs journalctl and calls each with the entries that keep accepts, as they come,
// until each returns false. A nil keep accepts all.
func (j Journal) each(ctx context.Context, args []string, keep func(fields) bool, each func(Entry) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, w := io.Pipe()
	defer r.Close()
	ended := make(chan error, 1)
	go func() {
		err := j.Run(ctx, args, w)
		w.Close()
		ended <- err
	}()
	err := readEntries(r, keep, each)
	r.CloseWithError(errEnough)
	cancel(errEnough)
	// First the command's own error: a guest that goes leaves half a line to parse.
	if runErr := <-ended; runErr != nil && !errors.Is(runErr, errEnough) {
		return runErr
	}
	return err
}

// Moment is a moment in the life of a boot. Entries are ordered by it and not by the wall
// clock, which may be set to any time.
type Moment struct {
	Boot      string        `json:"boot"`      // the boot's ID
	Monotonic time.Duration `json:"monotonic"` // by CLOCK_MONOTONIC, clock_gettime(2)
}

func momentOf(e Entry) Moment {
	micros, _ := strconv.ParseInt(e.Fields["__MONOTONIC_TIMESTAMP"], 10, 64) // parseEntry checked it
	return Moment{Boot: e.Fields["_BOOT_ID"], Monotonic: time.Duration(micros) * time.Microsecond}
}

// includes reports whether an entry was logged up to the moment, in the same boot. The
// zero Moment includes none.
func (m Moment) includes(e Entry) bool {
	of := momentOf(e)
	return of.Boot == m.Boot && of.Monotonic <= m.Monotonic
}
