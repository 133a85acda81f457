package journal

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// maxRecorded bounds the entries of a Record, in bytes of the export format.
const maxRecorded = 16 << 20

// Record is a Store in a form for a file.
type Record struct {
	Entries []byte `json:"entries"` // in the export format, compressed by gzip
	Gone    int    `json:"gone"`    // how many entries came before these
	// Rest is the part of the last entry that has come. The other fields are about it.
	Rest      []byte `json:"rest"`
	Skip      uint64 `json:"skip,omitempty"`      // bytes of a field that are still to come and are left out
	SkipsLine bool   `json:"skipsLine,omitempty"` // as Skip, for a line
	Cut       bool   `json:"cut,omitempty"`       // a field was left out
	Damage    string `json:"damage,omitempty"`    // why a line of it is no field, if one is not
	Kept      []byte `json:"kept,omitempty"`      // the part before that line
	// Losses are the notes about what is not here.
	Losses []RecordedLoss `json:"losses,omitempty"`
	// Reached is what is known about the entries that have come, those that are not here included.
	// Older versions have recorded Gaps alone: the places of the entries after the gaps.
	Reached *Reached `json:"reached,omitempty"`
	Gaps    []Place  `json:"gaps,omitempty"`
}

// Reached says up to where entries have come, and which before those have not.
type Reached struct {
	Tails map[string]uint64 `json:"tails,omitempty"` // the last number of each sequence
	Boots []RecordedBoot    `json:"boots"`           // the last entry's, and those of Gaps
	Gaps  []RecordedGap     `json:"gaps,omitempty"`  // what Fill has not looked at
}

// RecordedBoot has the counters that number the entries of a boot.
type RecordedBoot struct {
	ID       string         `json:"id"`
	Counters map[string]int `json:"counters,omitempty"` // of each sequence, an index into High
	High     []uint64       `json:"high,omitempty"`     // the highest number of each counter
}

// RecordedGap is a place whose entries did not arrive.
type RecordedGap struct {
	After   Place  `json:"after"`
	Before  Place  `json:"before"`
	Boot    int    `json:"boot"`            // an index into the Boots of Reached
	Counter int    `json:"counter"`         // an index into the High of the boot
	Cursor  string `json:"cursor"`          // of the entry before the gap
	At      int    `json:"at"`              // how many entries came before
	Entry   string `json:"entry,omitempty"` // the entry after the gap, in a line
}

// RecordedLoss is a note about entries that are not here.
type RecordedLoss struct {
	Before int    `json:"before"` // how many entries came before
	Text   string `json:"text"`
}

// Record returns what a later Store needs to go on where this one ends. Of entries of more
// than 16 MiB it has the last ones.
func (s *Store) Record() (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size, first := 0, len(s.entries)
	for first > 0 && size+len(s.entries[first-1].raw) <= maxRecorded {
		first--
		size += len(s.entries[first].raw)
	}
	var data bytes.Buffer
	w, err := gzip.NewWriterLevel(&data, gzip.BestSpeed)
	if err != nil {
		return Record{}, fmt.Errorf("record journal: %w", err)
	}
	for _, e := range s.entries[first:] {
		if _, err := w.Write(e.raw); err != nil {
			return Record{}, fmt.Errorf("record journal: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return Record{}, fmt.Errorf("record journal: %w", err)
	}
	r := Record{
		Entries: data.Bytes(), Gone: s.gone + first, Rest: bytes.Clone(s.decoder.buf),
		Skip: s.decoder.skip.bytes, SkipsLine: s.decoder.skip.line, Cut: s.decoder.cut,
		Damage: s.decoder.damage, Kept: s.decoder.kept, Reached: s.reached(first),
	}
	for _, l := range s.losses {
		before := l.before
		if before != elsewhere {
			before = s.gone + len(s.entries) - len(s.from(before))
		}
		r.Losses = append(r.Losses, RecordedLoss{before, l.text})
	}
	return r, nil
}

// reached returns what a Record of the entries from index first on has about all that have come.
func (s *Store) reached(first int) *Reached {
	r := &Reached{Tails: maps.Clone(s.tails)}
	indexes := make(map[*counters]int)
	boot := func(c *counters) int {
		i, there := indexes[c]
		if !there {
			i, indexes[c] = len(r.Boots), len(r.Boots)
			c = c.clone()
			r.Boots = append(r.Boots, RecordedBoot{c.boot, c.of, c.high})
		}
		return i
	}
	boot(s.counters)
	for _, g := range s.gaps {
		if at := s.position(g); at >= first {
			r.Gaps = append(r.Gaps, RecordedGap{g.after, g.before, boot(g.counters), g.counter, g.cursor, s.gone + at, g.entry})
		}
	}
	return r
}

// restore takes what a Record has about the entries that have come.
func (r *Reached) restore(s *Store) error {
	var boots []*counters
	for _, b := range r.Boots {
		c := counters{b.ID, b.Counters, b.High}
		for sequence, i := range c.of {
			if i < 0 || i >= len(c.high) {
				return fmt.Errorf("restore journal: no counter %d of sequence %s", i, sequence)
			}
		}
		boots = append(boots, c.clone())
	}
	if len(boots) == 0 {
		return errors.New("restore journal: no boot")
	}
	s.counters = boots[0]
	maps.Copy(s.tails, r.Tails)
	for _, g := range r.Gaps {
		if g.Boot < 0 || g.Boot >= len(boots) {
			return fmt.Errorf("restore journal: no boot %d of a gap", g.Boot)
		}
		s.gaps = append(s.gaps, gap{g.After, g.Before, boots[g.Boot], g.Counter, g.Cursor, g.At, g.Entry})
	}
	return nil
}

// Clone returns a Store with the same entries.
func (s *Store) Clone() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Store{
		entries: slices.Clip(s.entries), // an append makes a copy
		next:    s.next, gone: s.gone, size: s.size, ticks: s.ticks, filled: s.filled, counters: s.counters.clone(), err: s.err, broken: s.broken,
		tails: maps.Clone(s.tails), losses: slices.Clone(s.losses), gaps: slices.Clone(s.gaps), changed: make(chan struct{}),
	}
	for i, g := range c.gaps {
		if g.counters == s.counters { // those of other boots do not change
			c.gaps[i].counters = c.counters
		}
	}
	c.decoder = s.decoder
	c.decoder.buf = bytes.Clone(s.decoder.buf)
	return c
}

// Restore returns a Store that goes on after a record. The zero Record has no entry.
func Restore(r Record) (*Store, error) {
	s := NewStore()
	if len(r.Entries) == 0 {
		return s, nil
	}
	s.gone, s.next = r.Gone, r.Gone
	z, err := gzip.NewReader(bytes.NewReader(r.Entries))
	if err != nil {
		return nil, fmt.Errorf("restore journal: %w", err)
	}
	var entries decoder
	// One byte more than a record has.
	n, err := io.Copy(writer(func(p []byte) {
		entries.write(p, func(raw []byte, _ bool, _ string) { s.again(raw, r.Reached == nil) })
	}), io.LimitReader(z, maxRecorded+1))
	if err == nil && n > maxRecorded {
		err = errors.New("the record is too long")
	}
	if err != nil {
		return nil, fmt.Errorf("restore journal: %w", err)
	}
	s.decoder = decoder{buf: bytes.Clone(r.Rest), skip: skip{r.Skip, r.SkipsLine}, cut: r.Cut, damage: r.Damage, kept: bytes.Clone(r.Kept)}
	for _, l := range r.Losses {
		s.losses = append(s.losses, loss{before: l.Before, text: l.Text})
	}
	if r.Reached != nil {
		return s, r.Reached.restore(s)
	}
	// The entries alone do not say what is known about those between them.
	s.gaps = slices.DeleteFunc(s.gaps, func(g gap) bool { return !slices.Contains(r.Gaps, g.before) })
	return s, nil
}

// again adds an entry of a Record. It was examined before.
func (s *Store) again(raw []byte, reach bool) {
	e, err := parseEntry(raw)
	if err != nil {
		return
	}
	place, _ := placeOf(e.Cursor)
	if reach {
		s.reach(place, e.Boot, brief(e))
	}
	s.keep(raw, place, e.Boot)
}

// writer is a function as an io.Writer.
type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
