package vm

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// patient answers questions as a guest in some state does. A time of 0 is never.
type patient struct {
	agentTime   time.Duration
	agentErr    error
	noAgent     bool
	pid1Time    time.Duration
	pid1Err     error
	monitorTime time.Duration
	monitorErr  error
	status      string
	ran, waited float64 // shares of the time, of its one processor
}

func (p patient) questions() questions {
	began := time.Now()
	q := questions{
		monitor: func(ctx context.Context) monitorAnswer {
			if err := reply(p.monitorTime, p.monitorErr)(ctx); err != nil {
				return monitorAnswer{err: err}
			}
			return monitorAnswer{status: p.status, threads: []int{7}}
		},
		usages: func(threads []int) []qemu.Usage {
			since := float64(time.Since(began))
			return []qemu.Usage{{Ran: time.Duration(since * p.ran), Waited: time.Duration(since * p.waited)}}
		},
	}
	if !p.noAgent {
		q.agent, q.pid1 = reply(p.agentTime, p.agentErr), reply(p.pid1Time, p.pid1Err)
	}
	return q
}

// reply returns a question that is answered after some time, or never.
func reply(after time.Duration, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		if after == 0 {
			<-ctx.Done()
			return ctx.Err()
		}
		time.Sleep(after)
		return err
	}
}

func TestHealth(t *testing.T) {
	const ms = time.Millisecond
	lost := errors.New("link lost")
	for _, test := range []struct {
		name    string
		patient patient
		within  time.Duration
		want    string
	}{
		{"all answer", patient{agentTime: 4 * ms, pid1Time: 12 * ms, monitorTime: ms, status: "running"}, 12 * ms,
			"the agent answered in 4ms, PID 1 answered in 12ms"},
		{"slow", patient{agentTime: 1234 * ms, pid1Time: 1500 * ms, monitorTime: ms, status: "running", ran: 1}, 1500 * ms,
			"the agent answered in 1.2s, PID 1 answered in 1.5s"},
		{"PID 1 silent", patient{agentTime: 4 * ms, monitorTime: ms, status: "running", ran: 1}, 2 * time.Second,
			"the agent answered in 4ms, PID 1 did not within 2s; the guest's processor was busy for 2s of 2s"},
		{"PID 1 refuses", patient{agentTime: 4 * ms, pid1Time: 5 * ms, pid1Err: errors.New("connection refused"), monitorTime: ms, status: "running"}, 5 * ms,
			"the agent answered in 4ms, asking PID 1 failed: connection refused"},
		{"paused", patient{monitorTime: ms, status: "paused"}, ms,
			`the guest is paused: QEMU's status is "paused", it was stopped through QEMU's monitor, as for a snapshot`},
		{"io-error", patient{monitorTime: ms, status: "io-error"}, ms,
			`the guest is paused: QEMU's status is "io-error", its disk failed`},
		{"other status", patient{monitorTime: ms, status: "watchdog"}, ms,
			`the guest is paused: QEMU's status is "watchdog"`},
		{"busy", patient{monitorTime: ms, status: "running", ran: 0.97}, 2 * time.Second,
			"the agent did not answer within 2s; the guest's processor was busy for 1.9s of 2s"},
		{"starved", patient{monitorTime: ms, status: "running", ran: 0.3, waited: 0.6}, 2 * time.Second,
			"the agent did not answer within 2s; the guest's processor was busy for 1.8s of 2s and waited for the host's for 1.2s of these"},
		{"idle", patient{monitorTime: ms, status: "running", ran: 0.01}, 2 * time.Second,
			"the agent did not answer within 2s; the guest's processor was busy for 20ms of 2s"},
		{"booting", patient{noAgent: true, monitorTime: ms, status: "running", ran: 1}, 2 * time.Second,
			"the agent has not come up; the guest's processor was busy for 2s of 2s"},
		{"agent gone", patient{agentTime: ms, agentErr: lost, pid1Time: ms, pid1Err: lost, monitorTime: 2 * ms, status: "running"}, 2 * ms,
			"asking the agent failed: link lost"},
		{"monitor closed", patient{monitorTime: ms, monitorErr: errors.New("QMP query-status: closed")}, 2 * time.Second,
			"asking QEMU's monitor failed: QMP query-status: closed, and the agent did not answer within 2s"},
		{"asleep", patient{agentTime: 2 * ms, agentErr: lost, monitorTime: ms, status: "suspended"}, ms,
			`the guest is paused: QEMU's status is "suspended", it sleeps and nothing wakes it`},
		{"monitor silent", patient{}, 2 * time.Second,
			"QEMU's monitor did not answer within 2s, and the agent did not answer within 2s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), examineTime)
				defer cancel()
				var h Health
				h.put(ctx, test.patient.questions())
				assert.Equal(t, test.want, h.String())
				assert.Equal(t, test.within, time.Since(began), "time that it took")
				time.Sleep(time.Minute) // for the answers that come too late
			})
		})
	}
}

func TestHealthWithoutQuestions(t *testing.T) {
	assert.Equal(t, "QEMU is stopped by a signal or a debugger (kill -CONT 42 resumes it)", Health{stopped: true, pid: 42}.String())
	assert.Equal(t, "the guest is gone; the guest's kernel killed process 3 (x) for lack of memory",
		Health{gone: true, Victim: "the guest's kernel killed process 3 (x) for lack of memory"}.String())
}

func TestBusiestProcessor(t *testing.T) {
	before := []qemu.Usage{{Ran: 5}, {Ran: 50}, {Ran: 7}}
	after := []qemu.Usage{{Ran: 6}, {Ran: 60, Waited: 1}, {Ran: 7}}
	assert.Equal(t, qemu.Usage{Ran: 10, Waited: 1}, busiest(before, after))
	assert.Zero(t, busiest(before, nil))
}

// A look at a machine whose PID 1 does not answer says so.
func TestExamineWithASilentPID1(t *testing.T) {
	h := newFakeHost(t)
	m, fake := h.bootFake()
	health := m.Examine()
	assert.True(t, health.Answers())
	assert.True(t, health.PID1Answers())
	assert.Regexp(t, `^the agent answered in \S+, PID 1 answered in \S+$`, health.String())

	release := make(chan struct{})
	defer close(release)
	fake.setPID1(func() string { <-release; return "running" })
	fake.setKernelLog("Out of memory: Killed process 7 (tail) total-vm:1kB")
	health = m.Examine()
	assert.True(t, health.Answers())
	assert.False(t, health.PID1Answers())
	assert.Regexp(t, `^the agent answered in \S+, PID 1 did not within \S+; the guest's kernel killed process 7 \(tail\) for lack of memory$`, health.String())

	ctx, cancel := deadline.Within(t.Context(), deadline.Limit{What: "not done", Time: time.Millisecond})
	defer cancel()
	err := m.With(ctx, "ask", func(ctx context.Context, _ *link.Client) error { <-ctx.Done(); return context.Cause(ctx) })
	assert.ErrorContains(t, err, "PID 1 did not within")
	assert.False(t, errors.As(err, new(*GuestError)), "the agent still yields evidence")
}
