package journal

import (
	"fmt"

	"example.org/systemd-vmtest/internal/tail"
)

// loss is a note about entries that are not here.
type loss struct {
	before int // the number of the next entry
	text   string
}

// maxLosses bounds the notes.
const maxLosses = 1000

func (s *Store) lose(format string, args ...any) {
	if len(s.losses) < maxLosses {
		s.losses = append(s.losses, loss{s.end(), tail.Printable(fmt.Sprintf(format, args...))})
	}
}

// outgrow notes that the store has dropped its oldest entries.
func (s *Store) outgrow() {
	s.lose("the oldest %d entries were dropped, because the host keeps %d MiB", s.first, maxStored>>20)
}

// Losses returns what is known about entries that should have come from a number on and are
// not here, safe to print: those that the guest removed before they were read, and those
// that this host dropped.
func (s *Store) Losses(from int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, l := range s.losses {
		if l.before >= from {
			texts = append(texts, l.text)
		}
	}
	return texts
}
