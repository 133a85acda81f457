package journal

import (
	"fmt"
	"io"
	"slices"

	"example.org/systemd-vmtest/internal/tail"
)

// gap is a place whose entries did not arrive, such as when journald began another file while
// journalctl was reading.
type gap struct {
	after, before Place
	cursor        string // of the entry before it
	at            int    // the number of the entry after it when that arrived
	entry         string // the entry after it, in a line
}

// has reports whether the gap is about a place. Numbers are those of one counter for all
// sequences.
func (g gap) has(p Place) bool { return p.Number > g.after.Number && p.Number < g.before.Number }

// lost describes n entries that are missing in the gap.
func (g gap) lost(n uint64) loss {
	what := fmt.Sprintf("%d entries", n)
	if n == 1 {
		what = "an entry"
	}
	return loss{g.at, tail.Printable(fmt.Sprintf("%s before %s did not arrive", what, g.entry))}
}

// Gap returns the cursor of the entry before the first gap that Fill has not looked at.
func (s *Store) Gap() (cursor string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gaps) == 0 {
		return "", false
	}
	return s.gaps[0].cursor, true
}

// filler takes the journal from the cursor of Gap on, in the export format.
type filler struct {
	decoder decoder
	gaps    []gap
	found   []stored // in one of the gaps
}

func (f *filler) Write(p []byte) (int, error) {
	err := f.decoder.write(p, func(raw []byte, dropped bool) {
		if e, err := parseEntry(raw); err == nil && !dropped {
			place, _ := placeOf(e.Cursor)
			if slices.ContainsFunc(f.gaps, func(g gap) bool { return g.has(place) }) {
				f.found = append(f.found, stored{raw, place, e.Boot})
			}
		}
	})
	return len(p), err
}

// Fill calls read with a writer for the journal from the cursor of Gap on, in the export
// format, and adds what the gaps have of it. What is still missing then is lost.
func (s *Store) Fill(read func(io.Writer) error) error {
	s.mu.Lock()
	gaps := slices.Clone(s.gaps)
	s.mu.Unlock()
	f := filler{gaps: gaps}
	if err := read(&f); err != nil {
		return fmt.Errorf("read journal again: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Another Fill may have filled some meanwhile.
	gaps = slices.DeleteFunc(gaps, func(g gap) bool { return !slices.Contains(s.gaps, g) })
	s.gaps = slices.DeleteFunc(s.gaps, func(g gap) bool { return slices.Contains(gaps, g) })
	for _, g := range gaps {
		found := slices.DeleteFunc(slices.Clone(f.found), func(e stored) bool {
			return !g.has(e.place)
		})
		at := slices.IndexFunc(s.entries, func(e stored) bool { return e.place == g.before })
		if at < 0 {
			continue // it is so old that it was dropped
		}
		s.entries = slices.Insert(slices.Clone(s.entries), at, found...) // others read the old one
		for _, e := range found {
			s.size += len(e.raw)
		}
		if n := g.before.Number - g.after.Number - 1; n > uint64(len(found)) && len(s.losses) < maxLosses {
			s.losses = append(s.losses, g.lost(n-uint64(len(found))))
		}
	}
	if s.size > maxStored {
		s.shrink()
	}
	s.notify()
	return nil
}
