package vmtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
)

// health is what can be found out, in a few seconds, about a guest that has let a
// deadline pass: whether it is slow or wedged, and how.
type health struct {
	gone    bool   // QEMU is
	stopped bool   // QEMU itself is, by a signal or a debugger
	pid     int    // QEMU's
	status  string // QEMU's, as query-status has it; "" when it did not answer

	agent  agentState
	took   time.Duration // the agent's answer, or how long it was waited for
	usage  qemu.Usage    // of the busiest of the guest's processors ...
	during time.Duration // ... in this time; 0 when that is not known

	// victim is the process that the guest's kernel killed last for want of memory,
	// as the kernel names it, or "".
	victim string
}

// agentState is what became of the question to the agent whether it is there.
type agentState int

const (
	agentSilent agentState = iota
	agentAnswers
	agentLost   // its end of the link is closed
	agentAbsent // it has not come up yet
)

const (
	// examineTime is how long the agent and QEMU's monitor are waited for, and
	// mostExamineTime how long they are on a slow host.
	examineTime     = 2 * time.Second
	mostExamineTime = 5 * time.Second

	// slowAnswer is an agent's that has to struggle for it; it is idle else, and
	// answers in some milliseconds.
	slowAnswer = 300 * time.Millisecond
)

// examine finds out how the guest is.
func (m *Machine) examine() health {
	h := health{pid: m.process.Pid(), victim: outOfMemory(m.console.Since(0))}
	select {
	case <-m.Done():
		h.gone = true
	default:
		h.stopped = m.process.Stopped()
	}
	if h.gone || h.stopped {
		return h // nobody is there to answer
	}
	ctx, cancel := context.WithTimeout(context.Background(), mostExamineTime)
	defer cancel()
	ctx, cancel = within(ctx, limit{what: "no answer", time: examineTime})
	defer cancel()
	q := questions{monitor: m.askMonitor, usages: m.usages}
	if session := m.session(); session != nil {
		q.agent = session.Ping
	}
	h.put(ctx, q)
	return h
}

// questions are put to a guest to find out how it is.
type questions struct {
	agent   func(context.Context) error // nil while it has not come up
	monitor func() monitorAnswer
	usages  func(threads []int) []qemu.Usage
}

// monitorAnswer is what QEMU tells of itself.
type monitorAnswer struct {
	status  string
	threads []int // of the guest's processors, as the host numbers them
	err     error
}

// put puts all questions at once, until the agent's or QEMU's answer says enough or
// ctx ends, and notes what comes of them.
func (h *health) put(ctx context.Context, q questions) {
	began := time.Now()
	h.agent = agentAbsent
	var pinged chan error
	if q.agent != nil {
		h.agent = agentSilent
		pinged = make(chan error, 1)
		go func() { pinged <- q.agent(ctx) }()
	}
	asked := make(chan monitorAnswer, 1)
	go func() { asked <- q.monitor() }()

	var threads []int
	var before []qemu.Usage
	var since time.Time
	for {
		select {
		case err := <-pinged:
			if err == nil {
				h.agent, h.took = agentAnswers, time.Since(began)
				return
			}
			pinged = nil
			if ctx.Err() != nil {
				continue
			}
			h.agent = agentLost
			if h.status != "" {
				return
			}
		case answer := <-asked:
			if answer.err != nil {
				continue
			}
			h.status, threads = answer.status, answer.threads
			if h.status != "running" || h.agent == agentLost {
				return
			}
			before, since = q.usages(threads), time.Now()
		case <-ctx.Done():
			h.took = time.Since(began)
			if len(before) > 0 {
				h.usage, h.during = busiest(before, q.usages(threads)), time.Since(since)
			}
			return
		}
	}
}

// askMonitor asks QEMU. It does so outside of any deadline, until the machine is
// closed: a command that is given up takes QEMU's monitor with it.
func (m *Machine) askMonitor() (a monitorAnswer) {
	if m.monitor == nil { // QEMU closed it before it said a word
		return monitorAnswer{err: qmp.ErrClosed}
	}
	ctx := context.Background()
	var status struct{ Status string }
	if a.err = m.monitor.Execute(ctx, "query-status", nil, &status, nil); a.err != nil {
		return a
	}
	a.status = status.Status
	var cpus []struct {
		Thread int `json:"thread-id"`
	}
	a.err = m.monitor.Execute(ctx, "query-cpus-fast", nil, &cpus, nil)
	for _, cpu := range cpus {
		a.threads = append(a.threads, cpu.Thread)
	}
	return a
}

// usages are those of threads, less those that are gone.
func (m *Machine) usages(threads []int) []qemu.Usage {
	var all []qemu.Usage
	for _, thread := range threads {
		if u, err := m.process.Usage(thread); err == nil {
			all = append(all, u)
		}
	}
	return all
}

// busiest is the largest difference between two looks at the same threads.
func busiest(before, after []qemu.Usage) qemu.Usage {
	var most qemu.Usage
	for i := range min(len(before), len(after)) {
		u := qemu.Usage{Ran: after[i].Ran - before[i].Ran, Waited: after[i].Waited - before[i].Waited}
		if u.Ran+u.Waited >= most.Ran+most.Waited {
			most = u
		}
	}
	return most
}

// answers tells whether the guest still does what it is asked, however slowly.
func (h health) answers() bool { return h.agent == agentAnswers }

// String is the finding and the facts behind it, in one line.
func (h health) String() string {
	text := h.finding()
	if h.victim != "" {
		text += "; it ran out of memory before: its kernel killed " + h.victim
	}
	return text
}

func (h health) finding() string {
	switch {
	case h.gone:
		return "the guest is gone"
	case h.stopped:
		return fmt.Sprintf("QEMU itself is stopped, by a signal or a debugger (kill -CONT %d lets it go on)", h.pid)
	case h.answers() && h.took < slowAnswer:
		return fmt.Sprintf("the guest is well: its agent answered in %v", brief(h.took))
	case h.answers():
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
func (h health) silence() string {
	switch h.agent {
	case agentAbsent:
		return "its agent has not come up"
	case agentLost:
		return "its agent has let go of the link"
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

// overdue adds to err, when it came of a deadline, how the guest is. A guest that
// does not answer is a *GuestError.
func (m *Machine) overdue(ctx context.Context, doing string, err error) error {
	if err == nil || !struck(ctx) || errors.As(err, new(*GuestError)) {
		return err
	}
	h := m.examine()
	err = fmt.Errorf("%w; %v", err, h)
	if h.answers() {
		return err
	}
	return m.guestError(doing, err)
}
