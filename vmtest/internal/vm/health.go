package vm

import (
	"fmt"
	"time"
)

// Answers reports whether the agent answered, however slowly.
func (h Health) Answers() bool { return h.agent == agentAnswers }

// String is the finding and the facts behind it, in one line.
func (h Health) String() string {
	text := h.finding()
	if h.Victim != "" {
		text += "; it ran out of memory before: its kernel killed " + h.Victim
	}
	return text
}

func (h Health) finding() string {
	switch {
	case h.gone:
		return "the guest is gone"
	case h.stopped:
		return fmt.Sprintf("QEMU itself is stopped, by a signal or a debugger (kill -CONT %d lets it go on)", h.pid)
	case h.Answers() && h.took < slowAnswer:
		return fmt.Sprintf("the guest is well: its agent answered in %v", brief(h.took))
	case h.Answers():
		return fmt.Sprintf("the guest is slow, not wedged: its agent answered in %v", brief(h.took))
	case h.status == "":
		return fmt.Sprintf("QEMU is wedged: its monitor did not answer within %v, and %s", brief(h.took), h.silence())
	case h.status != "running":
		return fmt.Sprintf("the guest is paused: QEMU's status is %q%s", h.status, pauses[h.status])
	}
	silence := h.silence()
	if h.during == 0 {
		return "QEMU runs and " + silence
	}
	busy := h.usage.Ran + h.usage.Waited
	share := float64(busy) / float64(h.during)
	text := fmt.Sprintf("the guest is half-busy: its processor was busy for %v of %v and %s", brief(busy), brief(h.during), silence)
	switch {
	case share >= 0.8 && h.agent == agentAbsent: // nobody to ask which it is
		text = fmt.Sprintf("the guest is still booting, or spinning: its processor has been busy for %v and %s", brief(h.during), silence)
	case share >= 0.8:
		text = fmt.Sprintf("the guest is spinning: its processor has been busy for %v and %s", brief(h.during), silence)
	case share <= 0.2:
		text = fmt.Sprintf("the guest is idle: its processor had nothing to do for %v and %s", brief(h.during), silence)
	}
	if h.usage.Waited > h.during/2 {
		text += fmt.Sprintf("; the host let it wait for a processor for %v of that", brief(h.usage.Waited))
	}
	return text
}

// pauses says what QEMU's RunState means where the name does not.
var pauses = map[string]string{
	"paused":         ", it was stopped through QEMU's monitor, as for a snapshot",
	"suspended":      ", it went to sleep and nothing wakes it",
	"io-error":       ", its disk failed",
	"internal-error": ", the host's KVM or QEMU cannot go on with it",
	"inmigrate":      ", its state has not been loaded",
}

// silence says how the agent did not answer.
func (h Health) silence() string {
	switch h.agent {
	case agentAbsent:
		return "its agent has not come up"
	case agentLost:
		return "its agent has closed the link"
	}
	return "its agent does not answer"
}

// brief rounds a time to what a person wants to know of it.
func brief(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second / 10)
}
