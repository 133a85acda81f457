package vmtest

import (
	"strings"
	"sync"

	"example.org/systemd-vmtest/internal/tail"
)

// shown has the lines that the errors of a test have shown of its guest. The log of its
// evidence does not repeat them. The zero value has none, and so has nil.
type shown struct {
	mu    sync.Mutex
	lines map[string]bool
}

// add notes the quoted lines of an error that the test shows.
func (s *shown) add(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(err.Error()) {
		if text, ok := strings.CutPrefix(line, quote); ok {
			if s.lines == nil {
				s.lines = make(map[string]bool)
			}
			s.lines[strings.TrimSuffix(text, "\n")] = true
		}
	}
}

// quote begins each line of the guest in an error and in the evidence.
const quote = "  | "

func (s *shown) has(line string) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines[line]
}

// leaveOut returns lines without those that were shown.
func (s *shown) leaveOut(lines []string) []string {
	var rest []string
	for _, line := range lines {
		if !s.has(tail.Printable(line)) {
			rest = append(rest, line)
		}
	}
	return rest
}
