package journal

import (
	"maps"
	"slices"
	"strings"
)

// droppedEntry stands for the line of an entry that was dropped.
const droppedEntry = "an entry that was dropped"

// counters are those that number the entries of a boot.
type counters struct {
	boot string
	of   map[string]int // of each sequence, an index into high
	high []uint64       // the highest number of each counter
}

func newCounters(boot string) *counters { return &counters{boot: boot, of: make(map[string]int)} }

func (c *counters) clone() *counters {
	return &counters{c.boot, maps.Clone(c.of), slices.Clone(c.high)}
}

// find returns the counter of a sequence. One from which no entry has come has the last one:
// in systemd 252 the file of a user has a sequence of its own, with numbers of the same counter.
func (c *counters) find(sequence string) int {
	if counter, known := c.of[sequence]; known {
		return counter
	}
	return len(c.high) - 1
}

// take returns the counter of a place whose entry has come. In systemd 247 journald counts from
// 1 again, in another sequence, when it finds its file broken.
func (c *counters) take(p Place) int {
	if _, known := c.of[p.Sequence]; !known && (p.Number == 1 || len(c.high) == 0) {
		c.high = append(c.high, 0)
	}
	counter := c.find(p.Sequence)
	c.of[p.Sequence] = counter
	return counter
}

// reach notes that an entry has come, and leaves a gap if some before it have not. entry is the
// one that has come, in a line. Nothing waits for it then, whether it is kept or not.
func (s *Store) reach(p Place, boot, entry string) {
	if boot != s.counters.boot { // a reboot ends the stream before the journal, which a disk keeps
		s.counters = newCounters(boot)
	}
	counter := s.counters.take(p)
	high := &s.counters.high[counter]
	if *high > 0 && p.Number > *high+1 {
		s.leave(gap{Place{p.Sequence, *high}, p, s.counters, counter, s.last(), s.next, entry})
	}
	*high = max(*high, p.Number)
	s.tails[p.Sequence] = max(s.tails[p.Sequence], p.Number)
}

// pass calls reach for an entry that was dropped, whose cursor says where it stood.
func (s *Store) pass(raw []byte) {
	cursor := cursorOf(raw)
	place, ok := placeOf(cursor)
	if _, known := s.tails[place.Sequence]; ok && (known || len(s.tails) < maxSequences) {
		_, boot, _ := strings.Cut(cursor, ";b=")
		boot, _, _ = strings.Cut(boot, ";")
		s.reach(place, boot, droppedEntry)
	}
}

// cursorOf returns the cursor of an entry, or "".
func cursorOf(raw []byte) (cursor string) {
	splitFields(raw, func(name string, value []byte) {
		if name == cursorField {
			cursor = string(value)
		}
	})
	return cursor
}
