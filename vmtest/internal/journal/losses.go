package journal

import (
	"fmt"
	"slices"

	"example.org/systemd-vmtest/internal/tail"
)

// loss is a note about entries that are not here.
type loss struct {
	before int // the number of the next entry
	text   string
}

// Messages of journald about entries that it did not take, by their MESSAGE_ID (systemd's
// sd-messages.h).
const (
	journalDropped = "a596d6fe7bfa4994828e72309e95d61e" // Suppressed N messages from UNIT
	journalMissed  = "e9bf28e6e834481bb6f48f548ad13606" // Missed N kernel messages
)

// ofLoss reports whether journald says in e that it did not take entries.
func ofLoss(e Entry) bool {
	return (e.MessageID == journalDropped || e.MessageID == journalMissed) && e.Field("_TRANSPORT") == "driver"
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
// not here, safe to print: those that journald did not take, those that the guest removed
// before they were read, and those that this host dropped.
func (s *Store) Losses(from int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	losses := slices.Clone(s.losses)
	for _, g := range s.gaps {
		losses = append(losses, g.lost(g.before.Number-g.after.Number-1))
	}
	var texts []string
	for _, l := range losses {
		if l.before >= from {
			texts = append(texts, l.text)
		}
	}
	return texts
}
