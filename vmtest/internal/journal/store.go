package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// maxStored bounds the entries that a Store keeps, in bytes of the export format. It is more
// than a burst of 60,000 lines takes.
const maxStored = 128 << 20

// maxSequences bounds the sequences of entries (journal_file's seqnum ID). journald begins one
// for each boot, and in some versions for each user.
const maxSequences = 10_000

// Store keeps the entries of a guest's journal in the order in which they were logged. When
// they take more than 128 MiB it drops the oldest, and Losses says so. Its methods may be
// called from several goroutines.
type Store struct {
	mu       sync.Mutex
	decoder  decoder
	entries  []stored
	next     int // number of the entry that comes next
	gone     int // how many entries were dropped because they are the oldest
	size     int // bytes of entries
	ticks    int // of the last entry
	filled   int // tick of the last entry that Fill added
	tails    map[string]uint64
	counters *counters // of the last entry's boot
	losses   []loss
	broken   Place // of the last entry that Begin has found damaged
	gaps     []gap
	err      error         // why no more entries come
	changed  chan struct{} // closed and replaced at each change
}

// stored is an entry as it came. A parsed one takes several times the memory.
type stored struct {
	raw    []byte
	place  Place
	boot   string
	number int  // a point in the journal; an entry that Fill adds has that of the entry after it
	tick   int  // counts the entries as they came
	late   bool // Fill has added it
}

// NewStore returns an empty Store.
func NewStore() *Store {
	return &Store{tails: make(map[string]uint64), counters: newCounters(""), changed: make(chan struct{})}
}

// Write takes the next part of the stream, in the export format.
func (s *Store) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	came := false
	s.decoder.write(p, func(raw []byte, cut bool, damage string) {
		s.add(raw, cut, damage)
		came = true
	})
	if came {
		s.notify()
	}
	return len(p), nil
}

func (s *Store) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// add adds an entry. The caller holds the lock.
func (s *Store) add(raw []byte, cut bool, damage string) {
	e, err := parseEntry(raw)
	if damage != "" {
		err = errors.New(damage)
	}
	if err != nil {
		s.lose("an entry was dropped: %v", err)
		s.pass(raw)
		return
	}
	place, ok := placeOf(e.Cursor)
	if !ok {
		s.lose("an entry was dropped: no place in the cursor %q", e.Cursor[:min(len(e.Cursor), maxCursor)])
		return
	}
	last, known := s.tails[place.Sequence]
	if known && place.Number <= last {
		return // a stream that begins again repeats an entry
	}
	if !known && len(s.tails) == maxSequences {
		s.lose("an entry was dropped: it is of more than %d sequences", maxSequences)
		return
	}
	if !cut && e.torn() {
		s.lose("an entry was dropped: not all of its fields arrived")
		s.reach(place, e.Boot, droppedEntry)
		return
	}
	s.reach(place, e.Boot, brief(e))
	s.unlose(place)
	if cut {
		s.loseCut(e)
	}
	if ofLoss(e) {
		s.lose("journald: %s", e.Message)
	}
	s.keep(raw, place, e.Boot)
	if s.size > maxStored {
		s.shrink()
	}
}

// keep adds an entry to the others.
func (s *Store) keep(raw []byte, place Place, boot string) {
	s.ticks++
	s.entries = append(s.entries, stored{raw: raw, place: place, boot: boot, number: s.next, tick: s.ticks})
	s.next++
	s.size += len(raw)
}

// shrink drops the oldest eighth.
func (s *Store) shrink() {
	n := 0
	for s.size > maxStored*7/8 && n < len(s.entries) {
		s.size -= len(s.entries[n].raw)
		n++
	}
	s.gone += n
	s.entries = slices.Clone(s.entries[n:])
	s.gaps = slices.DeleteFunc(s.gaps, func(g gap) bool { return g.at < s.first() })
}

// first returns the number of the oldest entry.
func (s *Store) first() int {
	if len(s.entries) == 0 {
		return s.next
	}
	return s.entries[0].number
}

// Begin says that the next Write is of a new stream, which may repeat entries.
func (s *Store) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseBroken()
	s.decoder = decoder{}
}

// End says that no more entries come, and why.
func (s *Store) End(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.decoder; d.damage != "" {
		s.add(slices.Concat(d.kept, []byte{'\n'}), d.cut, d.damage)
		s.decoder = decoder{}
	}
	if s.err == nil {
		s.err = why
	}
	s.notify()
}

// Last returns the cursor of the last entry, or "".
func (s *Store) Last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last()
}

func (s *Store) last() string {
	if len(s.entries) == 0 {
		return ""
	}
	e, _ := parseEntry(s.entries[len(s.entries)-1].raw) // it was parsed before
	return e.Cursor
}

// Len returns how many entries have arrived. A number up to it is a point in the journal.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

// WaitTails waits until the entries at these places have arrived, or later ones of the same
// sequences.
func (s *Store) WaitTails(ctx context.Context, tails []Place) error {
	for {
		s.mu.Lock()
		missing, changed, err := s.missing(tails), s.changed, s.err
		s.mu.Unlock()
		switch {
		case missing == 0:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w; %d entries of the journal have not arrived", context.Cause(ctx), missing)
		}
	}
}

// missing returns how many entries up to these places have not arrived.
func (s *Store) missing(tails []Place) uint64 {
	var n uint64
	for _, t := range tails {
		if last := s.tails[t.Sequence]; last < t.Number {
			n = max(n, t.Number-last)
		}
	}
	return n
}

// from returns the entries from a number on. The caller holds the lock.
func (s *Store) from(number int) []stored {
	i, _ := slices.BinarySearchFunc(s.entries, number, func(e stored, n int) int { return cmp.Compare(e.number, n) })
	return slices.Clip(s.entries[i:])
}

// news returns the entries from a number on that came after a tick, and the last tick.
// changed is closed when there are more; err is why there will be none.
func (s *Store) news(number, after int) (entries []stored, tick int, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries = s.from(number)
	if s.filled > after { // they may be anywhere
		entries = slices.DeleteFunc(slices.Clone(entries), func(e stored) bool { return e.tick <= after })
	} else {
		i, _ := slices.BinarySearchFunc(entries, after, func(e stored, t int) int { return cmp.Compare(e.tick, t+1) })
		entries = entries[i:]
	}
	return entries, s.ticks, s.changed, s.err
}

// Export writes the entries from a number on, in the export format.
func (s *Store) Export(w io.Writer, from int) error {
	s.mu.Lock()
	raw := s.from(from)
	s.mu.Unlock()
	for _, r := range raw {
		if _, err := w.Write(r.raw); err != nil {
			return fmt.Errorf("export journal: %w", err)
		}
	}
	return nil
}

// Since returns the last entries from a number on, at most that many, oldest first, and
// whether those are all.
func (s *Store) Since(from, most int) (entries []Entry, all bool) {
	s.mu.Lock()
	raw := s.from(from)
	s.mu.Unlock()
	all = len(raw) <= most
	for _, r := range raw[max(0, len(raw)-most):] {
		if e, err := parseEntry(r.raw); err == nil {
			entries = append(entries, e)
		}
	}
	return entries, all
}
