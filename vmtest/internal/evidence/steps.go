package evidence

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/systemd-vmtest/internal/tail"
)

// Step is something that a test did with its guest.
type Step struct {
	Began  time.Time     `json:"began"`
	Took   time.Duration `json:"nanoseconds"`
	Text   string        `json:"text"`             // what it did, in one line
	Result string        `json:"result,omitempty"` // how it ended, or "" if it went well
	Output string        `json:"output,omitempty"` // what it printed, or its end
}

// maxSteps and maxOutput bound what Steps keeps: of each test the last steps, and of each
// output the end, in bytes.
const (
	maxSteps  = 2000
	maxOutput = 16 << 10
)

// Steps are those of a test, in the order of their ends. The zero value has none.
type Steps struct {
	mu   sync.Mutex
	list []Step
	last last
}

// Add adds a step.
func (s *Steps) Add(step Step) {
	if over := len(step.Output) - maxOutput; over > 0 {
		step.Output = "…" + step.Output[over:]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == maxSteps {
		s.list = slices.Delete(s.list, 0, maxSteps/10)
	}
	s.list = append(s.list, step)
}

// All returns the steps by the time at which they began.
func (s *Steps) All() []Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.list)
	slices.SortStableFunc(list, func(a, b Step) int { return a.Began.Compare(b.Began) })
	return list
}

// String returns the step in lines that are safe to print: what and how long, and below it
// the result and the output.
func (s Step) String() string {
	text := fmt.Sprintf("%s  %s (%.3f s)", clock(s.Began), s.Text, s.Took.Seconds())
	for _, more := range []string{s.Result, strings.TrimRight(s.Output, "\n")} {
		if more != "" {
			text += "\n    " + strings.ReplaceAll(more, "\n", "\n    ")
		}
	}
	return tail.Printable(text)
}

// Line returns the step in one line.
func (s Step) Line() string {
	text := fmt.Sprintf("%s (%.3f s)", s.Text, s.Took.Seconds())
	if first, _, _ := strings.Cut(s.Result, "\n"); first != "" {
		text += ": " + first
	}
	return text
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000000") }

// Moment is a line of a timeline.
type Moment struct {
	At   time.Time `json:"at"`
	Of   string    `json:"of"` // "test", "unit" or "guest"
	Text string    `json:"text"`
	Unit string    `json:"unit,omitempty"` // that the guest's line is about or from
	Bad  bool      `json:"bad,omitempty"`  // the guest's line has the priority err or a graver one
}

// Sort sorts moments by their times, those of equal times in the order given.
func Sort(moments []Moment) {
	slices.SortStableFunc(moments, func(a, b Moment) int { return a.At.Compare(b.At) })
}

// Timeline returns the lines of sorted moments.
func Timeline(moments []Moment) []string {
	lines := make([]string, len(moments))
	for i, m := range moments {
		lines[i] = tail.Printable(fmt.Sprintf("%s  %-5s  %s", clock(m.At), m.Of, m.Text))
	}
	return lines
}
