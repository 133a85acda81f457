package journal

import (
	"fmt"
	"math"
	"slices"

	"example.org/systemd-vmtest/internal/tail"
)

// loss is a note about entries that are not here, or not whole.
type loss struct {
	before int // the number of the next entry
	text   string
	of     Place // of an entry that may still come, if it is about one
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

// elsewhere is the number of a loss that may be anywhere.
const elsewhere = math.MaxInt

// maxLosses bounds the notes.
const maxLosses = 1000

func (s *Store) lose(format string, args ...any) {
	s.note(loss{before: s.next, text: tail.Printable(fmt.Sprintf(format, args...))})
}

// note keeps a loss. The last one that is kept stands for all others, wherever they are.
func (s *Store) note(l loss) {
	switch n := len(s.losses); {
	case n < maxLosses-1:
		s.losses = append(s.losses, l)
	case n == maxLosses-1:
		s.losses = append(s.losses, loss{before: elsewhere, text: "more was lost than is listed"})
	}
}

// loseBroken notes what ends a stream, if that is damaged. Another stream may bring the entry
// whole.
func (s *Store) loseBroken() {
	d := &s.decoder
	if d.damage == "" {
		return
	}
	place, _ := placeOf(cursorOf(d.kept))
	if place == (Place{}) || place != s.broken {
		s.note(loss{s.next, droppedText(d.damage), place})
	}
	s.broken = place
}

// unlose drops the note of loseBroken about an entry that has come.
func (s *Store) unlose(p Place) {
	if p == s.broken {
		s.losses = slices.DeleteFunc(s.losses, func(l loss) bool { return l.of == p })
		s.broken = Place{}
	}
}

func droppedText(why string) string { return tail.Printable("an entry was dropped: " + why) }

// loseCut notes that fields of an entry, the next one, were left out.
func (s *Store) loseCut(e Entry) { s.note(loss{before: s.next, text: cutText(e)}) }

func cutText(e Entry) string {
	return fmt.Sprintf("an entry of more than %d MiB was cut: %s", maxEntry>>20, brief(e))
}

// longestBrief is the most bytes of the message in a note.
const longestBrief = 200

// brief returns an entry in a line, safe to print, without the end of a long message.
func brief(e Entry) string {
	if len(e.Message) > longestBrief {
		e.Message = e.Message[:longestBrief] + "..."
	}
	return e.String()
}

// Losses returns what is known about entries that should have come from a number on and are
// not here, or not whole, safe to print: those that journald did not take, those that the
// guest removed before they were read, and those that this host dropped or cut.
func (s *Store) Losses(from int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	losses := slices.Clone(s.losses)
	for _, g := range s.gaps {
		if n := g.missing(s.from(g.at)); n > 0 {
			losses = append(losses, g.lost(n))
		}
	}
	var texts []string
	if s.gone > 0 && from < s.first() {
		texts = append(texts, fmt.Sprintf("the oldest %d entries were dropped, because the host keeps %d MiB, and a snapshot %d", s.gone, maxStored>>20, maxRecorded>>20))
	}
	for _, l := range losses {
		if l.before >= from {
			texts = append(texts, l.text)
		}
	}
	return texts
}
