package vm

import (
	"fmt"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// Health is what a look of a few seconds at a guest found: who answered, and what the
// guest's processor did meanwhile.
type Health struct {
	gone    bool   // QEMU has exited
	end     string // how it has gone, if that is known
	stopped bool   // QEMU is stopped, by a signal or a debugger
	pid     int    // QEMU's process ID
	status  string // as query-status of QMP returns it; "" if QEMU did not answer

	agent, pid1 answer
	monitor     answer        // unasked, or failed with status ""
	waited      time.Duration // for those that did not answer

	usage  qemu.Usage    // of the busiest of the guest's processors ...
	during time.Duration // ... in this time; 0 if not known

	// Victim is a sentence that names the last process killed for lack of memory, or "".
	Victim string
}

// answer is what became of a question.
type answer struct {
	state answerState
	took  time.Duration // if answered
	err   error         // if failed
}

type answerState int

const (
	unasked answerState = iota // the agent has not come up yet
	silent
	answered
	failed
)

// Answers reports whether the agent answered, however slowly.
func (h Health) Answers() bool { return h.agent.state == answered }

// PID1Answers reports whether PID 1 answered, however slowly.
func (h Health) PID1Answers() bool { return h.pid1.state == answered }

// String returns what was found, in one line.
func (h Health) String() string {
	switch {
	case h.Victim == "":
		return h.finding()
	case h.Answers() && h.PID1Answers():
		return h.Victim
	}
	return h.finding() + "; " + h.Victim
}

// finding follows the order of trust: QEMU, PID 1, the agent.
func (h Health) finding() string {
	switch {
	case h.gone && h.end != "":
		return "the guest is gone: " + h.end
	case h.gone:
		return "the guest is gone"
	case h.stopped:
		return fmt.Sprintf("QEMU is stopped by a signal or a debugger (kill -CONT %d resumes it)", h.pid)
	case h.status != "" && h.status != "running":
		return fmt.Sprintf("the guest is paused: QEMU's status is %q%s", h.status, pauses[h.status])
	case h.Answers() && h.PID1Answers():
		return fmt.Sprintf("the agent answered in %v, PID 1 answered in %v", deadline.Brief(h.agent.took), deadline.Brief(h.pid1.took))
	case h.Answers() && h.pid1.state == failed:
		return fmt.Sprintf("the agent answered in %v, asking PID 1 failed: %v", deadline.Brief(h.agent.took), h.pid1.err)
	case h.Answers():
		return fmt.Sprintf("the agent answered in %v, PID 1 did not within %v%s", deadline.Brief(h.agent.took), deadline.Brief(h.waited), h.processor())
	case h.monitor.state == failed:
		return fmt.Sprintf("asking QEMU's monitor failed: %v, and %s", h.monitor.err, h.silence())
	case h.status == "":
		return fmt.Sprintf("QEMU's monitor did not answer within %v, and %s", deadline.Brief(h.waited), h.silence())
	}
	return h.silence() + h.processor()
}

// pauses explains QEMU's RunState where the name does not.
var pauses = map[string]string{
	"paused":         ", it was stopped through QEMU's monitor, as for a snapshot",
	"suspended":      ", it sleeps and nothing wakes it",
	"io-error":       ", its disk failed",
	"internal-error": ", the host's KVM or QEMU cannot continue",
	"inmigrate":      ", its state has not been loaded",
}

// silence returns how the agent did not answer.
func (h Health) silence() string {
	switch h.agent.state {
	case unasked:
		return "the agent has not come up"
	case failed:
		return fmt.Sprintf("asking the agent failed: %v", h.agent.err)
	}
	return fmt.Sprintf("the agent did not answer within %v", deadline.Brief(h.waited))
}

// processor returns what the guest's processor did during the wait, as the end of a
// sentence.
func (h Health) processor() string {
	if h.during == 0 {
		return ""
	}
	busy := h.usage.Ran + h.usage.Waited
	text := fmt.Sprintf("; the guest's processor was busy for %v of %v", deadline.Brief(busy), deadline.Brief(h.during))
	if h.usage.Waited > h.during/2 {
		text += fmt.Sprintf(" and waited for the host's for %v of these", deadline.Brief(h.usage.Waited))
	}
	return text
}
