package journal

import (
	"fmt"
	"regexp"
	"strings"
)

// The parts of what a Go program prints when it crashes.
var (
	crashLine     = regexp.MustCompile(`^(panic|fatal error): `)
	goroutineLine = regexp.MustCompile(`^goroutine \d+ .*\[.*\]:$`)
	runtimeLine   = regexp.MustCompile(`^(runtime\.|panic\(|created by runtime\.)`)
	registerLine  = regexp.MustCompile(`^(r[a-z0-9]+|[cfg]s) +0x[0-9a-f]+$`)
)

// crash is what is known of a program's crash while its lines are read.
type crash struct {
	goroutines int
	inRuntime  bool // the last function is one of Go's own
	left       int  // lines that are left out
	last       int  // place of the last line that is not
}

// leavesOut reports whether a line is not needed to tell where the program crashed.
func (c *crash) leavesOut(line string) bool {
	switch {
	case goroutineLine.MatchString(line):
		c.goroutines++
		return c.goroutines > 1
	case c.goroutines != 1 || registerLine.MatchString(line):
		return c.goroutines > 1 || registerLine.MatchString(line)
	case strings.HasPrefix(line, "\t"):
		return c.inRuntime
	}
	c.inRuntime = runtimeLine.MatchString(line)
	return c.inRuntime
}

// Brief returns entries without what hides the place where a Go program crashed: other
// goroutines, functions of the runtime, and registers. An entry says how much that is.
func Brief(entries []Entry) []Entry {
	var list []Entry
	crashes := make(map[int]*crash) // by process
	for _, e := range entries {
		c := crashes[e.PID]
		if c == nil && e.PID > 1 && crashLine.MatchString(e.Message) {
			c = new(crash)
			crashes[e.PID] = c
		}
		if c != nil && c.leavesOut(e.Message) {
			c.left++
			continue
		}
		if c != nil {
			c.last = len(list)
		}
		list = append(list, e)
	}
	if len(crashes) == 0 {
		return list
	}
	var all []Entry
	for i, e := range list {
		all = append(all, e)
		if c := crashes[e.PID]; c != nil && c.last == i && c.left > 0 {
			e.Message = fmt.Sprintf("(%d lines of the trace are left out)", c.left)
			all = append(all, e)
		}
	}
	return all
}
