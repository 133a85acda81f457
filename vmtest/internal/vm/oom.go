package vm

import (
	"fmt"
	"regexp"

	"example.org/systemd-vmtest/internal/tail"
)

// victims are the lines of a kernel that kills for want of memory, in the machine or
// in a control group (mm/oom_kill.c). "quiet" lets them through to the console.
var victims = regexp.MustCompile(`[Oo]ut of memory: Killed process (\d+) \((.*)\)`)

// outOfMemory finds the last process that a console shows as killed for want of
// memory, as "process 123 (tail)", or "".
func outOfMemory(console []byte) string {
	found := victims.FindAllSubmatch(console, -1)
	if len(found) == 0 {
		return ""
	}
	last := found[len(found)-1]
	return fmt.Sprintf("process %s (%s)", last[1], tail.Printable(string(last[2])))
}

// OutOfMemory returns the last process that the console shows as killed for lack of
// memory after offset bytes were printed, or "".
func (m *Machine) OutOfMemory(offset int64) string { return outOfMemory(m.console.Since(offset)) }
