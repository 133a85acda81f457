package journal

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Query selects entries of the guest's journal. The zero value selects all entries of the
// present boot. vmtest.JournalQuery documents the fields.
type Query struct {
	Unit         string
	By           string
	About        string
	Match        []string
	Contains     string
	After        string
	Last         int
	EarlierBoots bool
}

// selection is a Query that has been checked.
type selection struct {
	Query
	units []matches // each must accept
	match matches
	after Place
}

// check returns what q selects. The units are the system's if user is nil, or those of the
// user's systemd.
func (q Query) check(user *uint32) (selection, error) {
	s := selection{Query: q}
	var err error
	if s.match, err = parseMatches(q.Match); err != nil {
		return s, err
	}
	by, about := byUnit, aboutUnit
	if user != nil {
		by = func(unit string) matches { return byUserUnit(unit, *user) }
		about = func(unit string) matches { return aboutUserUnit(unit, *user) }
	}
	if q.Unit != "" {
		s.units = append(s.units, append(by(q.Unit), about(q.Unit)...))
	}
	if q.By != "" {
		s.units = append(s.units, by(q.By))
	}
	if q.About != "" {
		s.units = append(s.units, about(q.About))
	}
	if q.After != "" {
		var ok bool
		if s.after, ok = placeOf(q.After); !ok {
			return s, fmt.Errorf("%q is not the cursor of an entry", q.After)
		}
	}
	return s, nil
}

func (s selection) accept(e Entry) bool {
	for _, unit := range s.units {
		if !unit.accept(e) {
			return false
		}
	}
	return s.match.accept(e) && strings.Contains(e.Message, s.Contains)
}

// entry returns the entry that is stored, if it is selected by what it says and by its place.
func (s selection) entry(raw stored, boot string) (Entry, bool) {
	if !s.EarlierBoots && raw.boot != boot || raw.place.Sequence == s.after.Sequence && raw.place.Number <= s.after.Number {
		return Entry{}, false
	}
	e, err := parseEntry(raw.raw)
	return e, err == nil && s.accept(e)
}

// start returns the number of the first entry after the cursor. An entry that is not here
// stands before all that follow the last one of its sequence that it may come after.
func (st *Store) start(s selection) int {
	st.mu.Lock()
	defer st.mu.Unlock()
	if s.After == "" {
		return 0
	}
	last := -1
	for i, e := range st.entries {
		if e.place.Sequence != s.after.Sequence || e.place.Number > s.after.Number {
			continue
		}
		last = i
		if e.place == s.after {
			break
		}
	}
	switch {
	case last < 0:
		return 0 // it was dropped, or is of a sequence that others come after
	case last+1 < len(st.entries):
		return st.entries[last+1].number
	}
	return st.next
}

// Select returns the entries that q selects of those that have arrived, oldest first. user
// is the UID of the user whose units q names, nil for the system's.
func (st *Store) Select(q Query, user *uint32) ([]Entry, error) {
	s, err := q.check(user)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	entries, _, _, _ := st.news(st.start(s), 0)
	boot := st.presentBoot()
	if s.Last > 0 {
		entries = s.last(entries, boot, s.Last)
	}
	var found []Entry
	for _, raw := range entries {
		if e, ok := s.entry(raw, boot); ok {
			found = append(found, e)
		}
	}
	return found, nil
}

// last returns entries from the one on that begins the last n that are selected.
func (s selection) last(entries []stored, boot string, n int) []stored {
	for i := len(entries) - 1; i >= 0; i-- {
		if _, ok := s.entry(entries[i], boot); ok {
			if n--; n == 0 {
				return entries[i:]
			}
		}
	}
	return entries
}

// Of returns those of entries, oldest first, that q selects, of any boot. Last does not
// count.
func (q Query) Of(entries []Entry, user *uint32) ([]Entry, error) {
	s, err := q.check(user)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if at := slices.IndexFunc(entries, func(e Entry) bool { return q.After != "" && e.Cursor == q.After }); at >= 0 {
		entries = entries[at+1:]
	}
	var found []Entry
	for _, e := range entries {
		if s.accept(e) {
			found = append(found, e)
		}
	}
	return found, nil
}

// LossesAfter returns the Losses after a cursor, or all if it is "".
func (st *Store) LossesAfter(cursor string) []string {
	s, err := Query{After: cursor}.check(nil)
	if err != nil || cursor == "" {
		return st.Losses(0)
	}
	return st.Losses(st.start(s))
}

func (st *Store) presentBoot() string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.counters.boot
}

// Wait returns the first entry that q selects and match accepts, among those that have
// arrived and those still to come. The Last of q counts those that have arrived.
func (st *Store) Wait(ctx context.Context, q Query, user *uint32, match func(Entry) bool) (Entry, error) {
	e, err := st.wait(ctx, q, user, match)
	if err != nil {
		return Entry{}, fmt.Errorf("wait for %s in the journal: %w", q, err)
	}
	return e, nil
}

func (st *Store) wait(ctx context.Context, q Query, user *uint32, match func(Entry) bool) (Entry, error) {
	s, err := q.check(user)
	if err != nil {
		return Entry{}, err
	}
	from, seen, tick, most := st.start(s), 0, 0, q.Last
	var last Entry
	look := func(e Entry) bool {
		last = e
		seen++
		return match(e)
	}
	for {
		entries, now, changed, end := st.news(from, tick)
		boot := st.presentBoot()
		if most > 0 {
			entries = s.last(entries, boot, most)
		}
		for _, raw := range entries {
			if e, ok := s.entry(raw, boot); ok && look(e) {
				return e, nil
			}
		}
		tick, most = now, 0
		if end == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				end = context.Cause(ctx)
			}
		}
		if seen == 0 {
			return Entry{}, fmt.Errorf("%w; there was no such entry", end)
		}
		return Entry{}, fmt.Errorf("%w; of %d such entries none matched, the last is: %s", end, seen, last)
	}
}

// String names what is selected, for an error.
func (q Query) String() string {
	text := "an entry"
	for _, part := range []struct{ words, value string }{
		{"of", q.Unit}, {"by", q.By}, {"about", q.About}, {"with", strings.Join(q.Match, " ")},
	} {
		if part.value != "" {
			text += " " + part.words + " " + part.value
		}
	}
	if q.Contains != "" {
		text += fmt.Sprintf(" that contains %q", q.Contains)
	}
	return text
}
