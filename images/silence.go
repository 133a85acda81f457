package images

import (
	"fmt"
	"sync"
	"time"
)

// silenceLimit is how long mmdebstrap may print nothing while packages are installed. A
// script of a package that waits for something prints nothing. Slow ones, such as those
// that generate keys or an index, take a small part of it.
const silenceLimit = 5 * time.Minute

// silence ends a group when the installation prints nothing for long.
type silence struct {
	limit time.Duration
	end   func() (callOff func())

	mu      sync.Mutex
	timer   *time.Timer
	callOff func()
	last    string // line of output
	over    bool
}

func newSilence(g *group) *silence {
	s := &silence{limit: g.silence, end: g.end, callOff: func() {}}
	s.timer = time.AfterFunc(s.limit, s.expire)
	s.timer.Stop()
	return s
}

// heard takes each line of the output.
func (s *silence) heard(p Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if s.timer.Stop(); p.Stage == Installing {
		s.last = p.Text
		s.timer.Reset(s.limit)
	}
}

func (s *silence) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over, s.callOff = true, s.end()
}

// stop ends the watch. It returns an error if the limit was exceeded.
func (s *silence) stop(output string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	s.callOff()
	if !s.over {
		return nil
	}
	return &BuildError{
		Tool: "mmdebstrap", Tail: output,
		Cause: fmt.Sprintf("no output for %v after %q", s.limit, s.last),
		Cure:  "a package's script may wait for an answer, and there is no terminal",
	}
}
