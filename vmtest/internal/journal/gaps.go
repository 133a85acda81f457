package journal

import (
	"context"
	"fmt"
	"io"
	"slices"

	"example.org/systemd-vmtest/internal/tail"
)

// gap is a place whose entries did not arrive, such as when journald began another file while
// journalctl was reading.
type gap struct {
	after, before Place
	counters      *counters // of the boot
	counter       int       // the one that numbers the gap
	cursor        string    // of the entry before it
	at            int       // the number of the entry after it
	entry         string    // the entry after it, in a line
}

// has reports whether the place of an entry is in the gap. The caller holds the store's lock.
func (g gap) has(e stored) bool {
	return e.boot == g.counters.boot && g.counters.find(e.place.Sequence) == g.counter &&
		e.place.Number > g.after.Number && e.place.Number < g.before.Number
}

// missing returns how many entries of the gap are not among those from its entry on: the
// entries of two sequences may arrive in another order.
func (g gap) missing(entries []stored) uint64 {
	n := g.before.Number - g.after.Number - 1
	for _, e := range entries {
		if n > 0 && g.has(e) {
			n--
		}
	}
	return n
}

// maxGaps bounds the gaps that wait for Fill. The entries of others count as lost.
const maxGaps = 1000

// leave keeps a gap for Fill.
func (s *Store) leave(g gap) {
	if len(s.gaps) < maxGaps {
		s.gaps = append(s.gaps, g)
	} else {
		s.note(g.lost(g.missing(nil)))
	}
}

// open returns the gaps that lack an entry still. The entries of others came in another order.
func (s *Store) open() []gap {
	s.gaps = slices.DeleteFunc(s.gaps, func(g gap) bool { return g.missing(s.from(g.at)) == 0 })
	return s.gaps
}

// lost describes n entries that are missing in the gap.
func (g gap) lost(n uint64) loss {
	what := fmt.Sprintf("%d entries", n)
	if n == 1 {
		what = "an entry"
	}
	return loss{before: g.at, text: tail.Printable(fmt.Sprintf("%s before %s did not arrive", what, g.entry))}
}

// Gap returns the cursor of the entry before the first gap that Fill has not looked at.
func (s *Store) Gap() (cursor string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gaps := s.open()
	if len(gaps) == 0 {
		return "", false
	}
	return gaps[0].cursor, true
}

// WaitGap waits until Gap returns a cursor. It returns an error if ctx ends, or the store.
func (s *Store) WaitGap(ctx context.Context) error {
	for {
		s.mu.Lock()
		gaps, changed, err := len(s.open()), s.changed, s.err
		s.mu.Unlock()
		if gaps > 0 || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// filler takes the journal from the cursor of Gap on, in the export format.
type filler struct {
	store   *Store
	decoder decoder
	gaps    []gap
	found   []foundEntry
	places  map[Place]bool // of found
	size    int            // bytes of found, at most maxStored
}

// foundEntry is an entry in one of the gaps.
type foundEntry struct {
	stored
	cut string // what is said of an entry that was cut, or ""
}

func (f *filler) Write(p []byte) (int, error) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	f.decoder.write(p, func(raw []byte, cut bool, damage string) {
		if e, err := parseEntry(raw); err == nil && damage == "" && (cut || !e.torn()) {
			place, _ := placeOf(e.Cursor)
			late := foundEntry{stored: stored{raw: raw, place: place, boot: e.Boot}}
			wanted := slices.ContainsFunc(f.gaps, func(g gap) bool { return g.has(late.stored) })
			if !wanted || f.places[place] || f.size+len(raw) > maxStored {
				return
			}
			if cut {
				late.cut = cutText(e)
			}
			f.places[place], f.size = true, f.size+len(raw)
			f.found = append(f.found, late)
		}
	})
	return len(p), nil
}

// Fill calls read with a writer for the journal from the cursor of Gap on, in the export
// format, and adds what the gaps have of it. What is still missing then is lost.
func (s *Store) Fill(read func(io.Writer) error) error {
	s.mu.Lock()
	gaps := slices.Clone(s.gaps)
	s.mu.Unlock()
	f := filler{store: s, gaps: gaps, places: make(map[Place]bool)}
	if err := read(&f); err != nil {
		return fmt.Errorf("read journal again: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Another Fill may have filled some meanwhile.
	gaps = slices.DeleteFunc(gaps, func(g gap) bool { return !slices.Contains(s.gaps, g) })
	s.gaps = slices.DeleteFunc(s.gaps, func(g gap) bool { return slices.Contains(gaps, g) })
	for _, g := range gaps {
		s.fill(g, f.found)
	}
	if s.size > maxStored {
		s.shrink()
	}
	s.notify()
	return nil
}

// position returns where in entries a gap is, if its entry was dropped: behind what Fill has added
// there, to gaps before it.
func (s *Store) position(g gap) int {
	late := s.from(g.at)
	at := len(s.entries) - len(late)
	for _, e := range late {
		if e.number != g.at || !e.late {
			break
		}
		at++
	}
	return at
}

// fill adds those of the entries that are in a gap and not there yet.
func (s *Store) fill(g gap, found []foundEntry) {
	at := slices.IndexFunc(s.entries, func(e stored) bool { return e.place == g.before })
	late := s.from(g.at)
	if at < 0 { // it was dropped: those of the gap stand where it would
		at = s.position(g)
	}
	missing := g.missing(late)
	var add []stored
	for _, e := range found {
		if !g.has(e.stored) || slices.ContainsFunc(late, func(there stored) bool { return there.place == e.place }) {
			continue
		}
		s.ticks++
		s.filled, s.size = s.ticks, s.size+len(e.raw)
		e.number, e.tick, e.late = g.at, s.ticks, true
		add = append(add, e.stored)
		s.unlose(e.place)
		if e.cut != "" {
			s.note(loss{before: g.at, text: e.cut})
		}
	}
	s.entries = slices.Insert(slices.Clone(s.entries), at, add...) // others read the old one
	if n := uint64(len(add)); n < missing {
		s.note(g.lost(missing - n))
	}
}
