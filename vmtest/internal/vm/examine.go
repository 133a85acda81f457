package vm

import (
	"context"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
)

// Health is what a look of a few seconds at a guest finds: whether it is slow or stuck,
// and how.
type Health struct {
	gone    bool   // QEMU is
	stopped bool   // QEMU itself is, by a signal or a debugger
	pid     int    // QEMU's
	status  string // QEMU's, as query-status has it; "" when it did not answer

	agent  agentState
	took   time.Duration // the agent's answer, or how long it was waited for
	usage  qemu.Usage    // of the busiest of the guest's processors ...
	during time.Duration // ... in this time; 0 when that is not known

	// Victim is the process that the guest's kernel killed last for want of memory,
	// as the kernel names it, or "".
	Victim string
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

// Examine looks at the guest.
func (m *Machine) Examine() Health {
	h := Health{pid: m.process.Pid(), Victim: outOfMemory(m.console.Since(0))}
	select {
	case <-m.Done():
		h.gone = true
	default:
		h.stopped = m.process.Stopped()
	}
	if h.gone || h.stopped {
		return h // nobody is there to answer
	}
	ctx, cancel := context.WithTimeout(deadline.ForEvidence(context.Background()), mostExamineTime)
	defer cancel()
	ctx, cancel = deadline.Within(ctx, deadline.Limit{What: "no answer", Time: examineTime})
	defer cancel()
	q := questions{monitor: m.askMonitor, usages: m.usages}
	if session := m.Session(); session != nil {
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
func (h *Health) put(ctx context.Context, q questions) {
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
