package evidence

import (
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/tail"
)

// Command is a command that a test ran, as it can be run again.
type Command struct {
	Args  []string `json:"args"`
	Env   []string `json:"env,omitempty"`
	Dir   string   `json:"dir,omitempty"`
	User  string   `json:"user,omitempty"`  // "" is root
	Input bool     `json:"input,omitempty"` // it had a standard input, which is not kept

	Began    time.Time     `json:"began"`
	Took     time.Duration `json:"nanoseconds"`
	ExitCode int           `json:"exitCode"` // -1 if a signal ended it, or no end is known
	Signal   string        `json:"signal,omitempty"`
	Err      string        `json:"error,omitempty"` // "" if it exited with 0

	// Stdout and Stderr are the end of what it printed. They are nil if the test took that.
	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
}

// last is the last command of a test before it failed.
type last struct {
	over    func() bool // whether the test has failed; nil if nobody can tell
	command *Command
}

// SetOver sets the function that reports whether the test has failed.
func (s *Steps) SetOver(over func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.over = over
}

// Over reports whether the test has failed. It returns false for a nil s.
func (s *Steps) Over() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	over := s.last.over
	s.mu.Unlock()
	return over != nil && over()
}

// Ran notes a command. One that is late, because it began when the test had failed, is ignored.
func (s *Steps) Ran(c Command, late bool) {
	if late {
		return
	}
	c.Stdout, c.Stderr = endOf(c.Stdout), endOf(c.Stderr)
	c.Err = tail.Printable(strings.TrimSpace(c.Err))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.command == nil || !c.Began.Before(s.last.command.Began) {
		s.last.command = &c
	}
}

// Last returns the command that began last of those that Ran noted, or nil.
func (s *Steps) Last() *Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.command
}

func endOf(output []byte) []byte { return output[max(0, len(output)-maxOutput):] }
