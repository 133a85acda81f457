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

// lost describes n entries that are missing in the gap.
func (g gap) lost(n uint64) loss {
	return loss{g.at, tail.Printable(fmt.Sprintf("%d entries did not arrive before %s; they were removed before they were read", n, g.entry))}
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
	found   []stored
}

func (f *filler) Write(p []byte) (int, error) {
	err := f.decoder.write(p, func(raw []byte, dropped bool) {
		if e, err := parseEntry(raw); err == nil && !dropped {
			place, _ := placeOf(e.Cursor)
			f.found = append(f.found, stored{raw, place, e.Boot})
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
	var f filler
	if err := read(&f); err != nil {
		return fmt.Errorf("read journal again: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps = slices.DeleteFunc(s.gaps, func(g gap) bool { return slices.Contains(gaps, g) })
	for _, g := range gaps {
		found := slices.DeleteFunc(slices.Clone(f.found), func(e stored) bool {
			return e.place.Number <= g.after.Number || e.place.Number >= g.before.Number
		})
		at := slices.IndexFunc(s.entries, func(e stored) bool { return e.place == g.before })
		if at < 0 {
			continue // it is so old that it was dropped
		}
		s.entries = slices.Insert(slices.Clone(s.entries), at, found...) // others read the old one
		for _, e := range found {
			s.size += len(e.raw)
		}
		if n := g.before.Number - g.after.Number - 1 - uint64(len(found)); n > 0 {
			s.losses = append(s.losses, g.lost(n))
		}
	}
	s.notify()
	return nil
}
