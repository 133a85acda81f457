package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

const (
	// examineTime bounds the wait for answers, and mostExamineTime also bounds it on a
	// slow host.
	examineTime     = 2 * time.Second
	mostExamineTime = 5 * time.Second
)

// Examine looks at the guest: it asks QEMU, PID 1 and the agent.
func (m *Machine) Examine() Health {
	h := Health{pid: m.process.Pid()}
	if isClosed(m.Done()) {
		h.gone, h.end = true, m.howGone()
	} else {
		h.stopped = m.process.Stopped()
	}
	if h.gone || h.stopped { // and cannot answer
		h.Victim = quoteVictim(m.console.Since(0))
		return h
	}
	background := deadline.ForEvidence(context.Background())
	ctx, cancel := context.WithTimeout(background, mostExamineTime)
	defer cancel()
	ctx, cancel = deadline.Within(ctx, deadline.Limit{What: "no answer", Time: examineTime})
	defer cancel()
	q := questions{monitor: m.askMonitor, usages: m.usages}
	if session := m.Session(); session != nil {
		q.agent = session.Ping
		q.pid1 = func(ctx context.Context) error { return askPID1(ctx, session) }
	}
	h.put(ctx, q)
	if h.Answers() {
		h.Victim = m.OutOfMemory(background, m.beginning())
	} else {
		h.Victim = quoteVictim(m.console.Since(0))
	}
	return h
}

// howGone returns why a guest that has gone did so: the call that ended it, or else what the
// machine shows, or QEMU's exit.
func (m *Machine) howGone() string {
	if ended := m.ended.Load(); ended != nil {
		return ended.By + " ended it"
	}
	m.readRest()
	if cause := m.cause(); cause != "" {
		return cause
	}
	return fmt.Sprint(m.process.Err())
}

// beginning returns the point at which this machine began to run. For a fork that is not the
// guest's boot.
func (m *Machine) beginning() Mark {
	if !m.resumed {
		return Mark{}
	}
	return Mark{at: m.events.now().resumed}
}

// askPID1 asks systemd for its state. It makes a connection of its own, because another
// call may be in progress on the machine's.
func askPID1(ctx context.Context, session *link.Client) error {
	manager := systemd.NewManager(func(ctx context.Context) (net.Conn, error) {
		return session.Dial(ctx, "unix", systemd.PrivateSocket)
	})
	defer manager.Close(net.ErrClosed)
	conn, err := manager.Conn(ctx)
	if err != nil {
		return err
	}
	_, err = conn.SystemStateContext(ctx)
	return err
}

// questions are put to a guest to find out who answers.
type questions struct {
	agent, pid1 func(context.Context) error // nil while the agent has not come up
	monitor     func(context.Context) monitorAnswer
	usages      func(threads []int) []qemu.Usage
}

// monitorAnswer is what QEMU's monitor returned.
type monitorAnswer struct {
	status  string
	threads []int // of the guest's processors, by the host's numbers
	err     error
}

// put puts all questions at once and notes the answers. It returns when both agent and
// PID 1 have answered, when QEMU's answer explains why they cannot, or when ctx ends.
func (h *Health) put(ctx context.Context, q questions) {
	began := time.Now()
	var agent, pid1 <-chan error
	if q.agent != nil {
		h.agent.state, h.pid1.state = silent, silent
		agent, pid1 = ask(ctx, q.agent), ask(ctx, q.pid1)
	}
	monitor := make(chan monitorAnswer, 1)
	go func() { monitor <- q.monitor(ctx) }()

	var threads []int
	var before []qemu.Usage
	var since time.Time
	for {
		select {
		case err := <-agent:
			h.agent.note(ctx, err, began)
			agent = nil
		case err := <-pid1:
			h.pid1.note(ctx, err, began)
			pid1 = nil
		case answer := <-monitor:
			if answer.err != nil {
				h.monitor.note(ctx, answer.err, began)
				continue
			}
			h.status, threads = answer.status, answer.threads
			before, since = q.usages(threads), time.Now()
		case <-ctx.Done():
			h.waited = time.Since(began)
			if len(before) > 0 {
				h.usage, h.during = busiest(before, q.usages(threads)), time.Since(since)
			}
			return
		}
		switch {
		case h.agent.state == answered && h.pid1.state != silent,
			h.agent.state == failed && h.status != "",
			h.status != "" && h.status != "running":
			return
		}
	}
}

// ask puts one question.
func ask(ctx context.Context, question func(context.Context) error) <-chan error {
	reply := make(chan error, 1)
	go func() { reply <- question(ctx) }()
	return reply
}

// note notes how a question ended. One that ctx ended is not answered.
func (a *answer) note(ctx context.Context, err error, began time.Time) {
	switch {
	case err == nil:
		a.state, a.took = answered, time.Since(began)
	case ctx.Err() == nil:
		a.state, a.err = failed, err
	}
}

// askMonitor asks QEMU.
func (m *Machine) askMonitor(ctx context.Context) (a monitorAnswer) {
	if m.monitor == nil {
		return monitorAnswer{err: errors.New("it is not connected")}
	}
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

// usages returns the usages of threads, without those that have ended.
func (m *Machine) usages(threads []int) []qemu.Usage {
	var all []qemu.Usage
	for _, thread := range threads {
		if u, err := m.process.Usage(thread); err == nil {
			all = append(all, u)
		}
	}
	return all
}

// busiest returns the largest difference between two looks at the same threads.
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
