package vm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/guest"
)

// victimPrefixes begin the records in which a kernel reports that it killed a process for
// lack of memory, in the machine or in a control group (mm/oom_kill.c).
var victimPrefixes = []string{"Out of memory", "Memory cgroup out of memory"}

// victims matches these records.
var victims = regexp.MustCompile(`(Out of memory|Memory cgroup out of memory)(?: \(oom_kill_allocating_task\))?: Killed process (\d+) \((.*)\)`)

// Mark is a point in the life of a machine.
type Mark struct {
	at       time.Time
	advanced time.Duration // by Advance until then
	printed  int64         // bytes on the console
}

// Mark returns the present point in the machine's life.
func (m *Machine) Mark() Mark {
	return Mark{at: time.Now(), advanced: time.Duration(m.clock.advanced.Load()), printed: m.console.Written()}
}

// OutOfMemory returns a sentence that names the last process that the guest's kernel
// killed for lack of memory since a point, or "". It asks the kernel's log, which a unit
// cannot write. If the agent does not answer, it quotes what the console shows.
func (m *Machine) OutOfMemory(ctx context.Context, since Mark) string {
	ctx, cancel := deadline.Within(ctx, deadline.Limit{What: "no answer", Time: exitTime})
	defer cancel()
	log, err := m.kernelLog(ctx)
	if err != nil {
		return quoteVictim(m.console.Since(since.printed))
	}
	// The guest's clock can be slower than this host's, and stands still while the guest
	// is stopped. So the point may come out too early, by as much.
	passed := time.Since(since.at) + time.Duration(m.clock.advanced.Load()) - since.advanced
	return lastVictim(log.Records, log.Now-passed)
}

// kernelLog asks the agent for the kernel's records about lack of memory.
func (m *Machine) kernelLog(ctx context.Context) (guest.KernelLog, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	session := m.Session()
	if session == nil {
		return guest.KernelLog{}, errors.New("the agent has not come up")
	}
	return guest.QueryKernelLog(ctx, session, guest.KernelLogQuery{Prefixes: victimPrefixes})
}

// lastVictim names the process of the last record from a time on, or returns "".
func lastVictim(records []guest.KernelRecord, from time.Duration) string {
	text := ""
	for _, r := range records {
		if found := victims.FindStringSubmatch(r.Text); found != nil && r.Monotonic >= from {
			text = fmt.Sprintf("the guest's kernel killed process %s (%s) for lack of memory", found[2], tail.Printable(found[3]))
			if found[1] != "Out of memory" {
				text += " in its control group"
			}
		}
	}
	return text
}

// quoteVictim quotes the last line of a console that looks like the kernel's record, or
// returns "".
func quoteVictim(console []byte) string {
	found := victims.FindAll(console, -1)
	if len(found) == 0 {
		return ""
	}
	return fmt.Sprintf("the console shows: %q", tail.Printable(string(found[len(found)-1])))
}
