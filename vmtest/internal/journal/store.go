package journal

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// maxStored bounds the entries that a Store keeps, in bytes of the export format. It is more
// than a burst of 60,000 lines takes.
const maxStored = 128 << 20

// Store keeps the entries of a guest's journal in the order in which they were logged. When
// they take more than 128 MiB it drops the oldest, and Losses says so. Its methods may be
// called from several goroutines.
type Store struct {
	mu      sync.Mutex
	decoder decoder
	entries []stored
	first   int // number of entries that came before entries[0]
	size    int // bytes of entries
	tails   map[string]uint64
	boot    string // of the last entry
	losses  []loss
	gaps    []gap
	err     error         // why no more entries come
	changed chan struct{} // closed and replaced at each change
}

// stored is an entry as it came. A parsed one takes several times the memory.
type stored struct {
	raw   []byte
	place Place
	boot  string
}

// NewStore returns an empty Store.
func NewStore() *Store {
	return &Store{tails: make(map[string]uint64), changed: make(chan struct{})}
}

// Write takes the next part of the stream, in the export format.
func (s *Store) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	before := s.end()
	err := s.decoder.write(p, s.add)
	if err != nil {
		s.err = err
	}
	if err != nil || s.end() > before {
		s.notify()
	}
	return len(p), err
}

func (s *Store) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// end returns the number of the entry that comes next.
func (s *Store) end() int { return s.first + len(s.entries) }

// add adds an entry. The caller holds the lock.
func (s *Store) add(raw []byte, dropped bool) {
	if dropped {
		s.lose("an entry of more than %d MiB was dropped", maxEntry>>20)
		s.pass(raw)
		return
	}
	e, err := parseEntry(raw)
	if err != nil {
		s.lose("an entry was dropped: %v", err)
		s.pass(raw)
		return
	}
	place, ok := placeOf(e.Cursor)
	if !ok {
		s.lose("an entry was dropped: no place in the cursor %q", e.Cursor)
		return
	}
	last, known := s.tails[place.Sequence]
	if known && place.Number <= last {
		return // a stream that begins again repeats an entry
	}
	// A reboot ends the stream before the journal, which a disk keeps. In systemd 252 the
	// file of a user has a sequence of its own, with numbers of the same counter.
	if high := s.high(); high > 0 && place.Number > high+1 && e.Boot == s.boot {
		s.gaps = append(s.gaps, gap{Place{place.Sequence, high}, place, s.last(), s.end(), e.String()})
	}
	if ofLoss(e) {
		s.lose("journald: %s", e.Message)
	}
	s.tails[place.Sequence], s.boot = place.Number, e.Boot
	s.entries = append(s.entries, stored{raw, place, e.Boot})
	s.size += len(raw)
	if s.size > maxStored {
		s.shrink()
	}
}

// pass notes that an entry has come which is not kept, so that nothing waits for it.
func (s *Store) pass(raw []byte) {
	splitFields(raw, func(name string, value []byte) {
		if place, ok := placeOf(string(value)); ok && name == "__CURSOR" {
			s.tails[place.Sequence] = max(s.tails[place.Sequence], place.Number)
		}
	})
}

// high returns the highest number so far.
func (s *Store) high() uint64 {
	var n uint64
	for _, last := range s.tails {
		n = max(n, last)
	}
	return n
}

// shrink drops the oldest eighth.
func (s *Store) shrink() {
	n := 0
	for s.size > maxStored*7/8 && n < len(s.entries) {
		s.size -= len(s.entries[n].raw)
		n++
	}
	s.first += n
	s.entries = slices.Clone(s.entries[n:])
	s.outgrow()
}

// Begin says that the next Write is of a new stream, which may repeat entries.
func (s *Store) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decoder = decoder{}
}

// End says that no more entries come, and why.
func (s *Store) End(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
	return s.end()
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

// since returns the entries from a number on, and the number after them. changed is closed
// when there are more; err is why there will be none.
func (s *Store) since(from int) (entries []stored, next int, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from = min(max(from, s.first), s.end())
	return s.entries[from-s.first : len(s.entries) : len(s.entries)], s.end(), s.changed, s.err
}

// Since returns the last entries from a number on, at most that many, oldest first, and
// whether those are all.
func (s *Store) Since(from, most int) (entries []Entry, all bool) {
	raw, _, _, _ := s.since(from)
	all = len(raw) <= most
	for _, r := range raw[max(0, len(raw)-most):] {
		if e, err := parseEntry(r.raw); err == nil {
			entries = append(entries, e)
		}
	}
	return entries, all
}
