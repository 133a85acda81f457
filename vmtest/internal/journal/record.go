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
	// Losses are the notes about what is not here, and Gaps what Fill has not looked at.
	Losses []RecordedLoss `json:"losses,omitempty"`
	Gaps   []Place        `json:"gaps,omitempty"` // of the entry after each
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
	}
	for _, l := range s.losses {
		before := l.before
		if before != elsewhere {
			before = s.gone + len(s.entries) - len(s.from(before))
		}
		r.Losses = append(r.Losses, RecordedLoss{before, l.text})
	}
	for _, g := range s.gaps {
		r.Gaps = append(r.Gaps, g.before)
	}
	return r, nil
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
	// One byte more than a record has.
	n, err := io.Copy(s, io.LimitReader(z, maxRecorded+1))
	if err == nil && n > maxRecorded {
		err = errors.New("the record is too long")
	}
	if err != nil {
		return nil, fmt.Errorf("restore journal: %w", err)
	}
	s.decoder = decoder{buf: bytes.Clone(r.Rest), skip: skip{r.Skip, r.SkipsLine}, cut: r.Cut}
	// The entries alone do not say what is known about those between them.
	s.gaps = slices.DeleteFunc(s.gaps, func(g gap) bool { return !slices.Contains(r.Gaps, g.before) })
	s.losses = nil
	for _, l := range r.Losses {
		s.losses = append(s.losses, loss{before: l.Before, text: l.Text})
	}
	return s, nil
}
