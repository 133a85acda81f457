package journal

import "strings"

// droppedEntry stands for the line of an entry that was dropped.
const droppedEntry = "an entry that was dropped"

// reach notes that an entry has come, and leaves a gap if some before it have not. entry is the
// one that has come, in a line. Nothing waits for it then, whether it is kept or not.
func (s *Store) reach(p Place, boot, entry string) {
	if boot != s.boot { // a reboot ends the stream before the journal, which a disk keeps
		s.boot, s.counter, s.high = boot, make(map[string]int), nil
	}
	counter, known := s.counter[p.Sequence]
	if !known {
		// In systemd 252 the file of a user has a sequence of its own, with numbers of the same
		// counter. In 247 journald counts from 1 again, in another sequence, when it finds its
		// file broken.
		if p.Number == 1 || len(s.high) == 0 {
			s.high = append(s.high, 0)
		}
		counter = len(s.high) - 1
		s.counter[p.Sequence] = counter
	}
	high := &s.high[counter]
	if *high > 0 && p.Number > *high+1 {
		s.leave(gap{Place{p.Sequence, *high}, p, boot, s.last(), s.next, entry})
	}
	*high = max(*high, p.Number)
	s.tails[p.Sequence] = max(s.tails[p.Sequence], p.Number)
}

// pass notes that an entry has come of which only the cursor is known.
func (s *Store) pass(raw []byte) {
	splitFields(raw, func(name string, value []byte) {
		place, ok := placeOf(string(value))
		if _, known := s.tails[place.Sequence]; ok && name == cursorField && (known || len(s.tails) < maxSequences) {
			_, boot, _ := strings.Cut(string(value), ";b=")
			boot, _, _ = strings.Cut(boot, ";")
			s.reach(place, boot, droppedEntry)
		}
	})
}
