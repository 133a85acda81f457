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
	Rest    []byte `json:"rest"`    // of an entry that is not complete
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
	return Record{Entries: data.Bytes(), Rest: bytes.Clone(s.decoder.rest())}, nil
}

// Clone returns a Store with the same entries.
func (s *Store) Clone() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Store{
		entries: slices.Clip(s.entries), // an append makes a copy
		first:   s.first, size: s.size, boot: s.boot, err: s.err,
		tails: maps.Clone(s.tails), losses: slices.Clone(s.losses), changed: make(chan struct{}),
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
	z, err := gzip.NewReader(bytes.NewReader(r.Entries))
	if err != nil {
		return nil, fmt.Errorf("restore journal: %w", err)
	}
	// One byte more than a record has.
	n, err := io.Copy(s, io.LimitReader(z, maxRecorded+1))
	if err == nil && n > maxRecorded {
		err = errors.New("the record is too long")
	}
	if err == nil {
		_, err = s.Write(r.Rest)
	}
	if err != nil {
		return nil, fmt.Errorf("restore journal: %w", err)
	}
	return s, nil
}
