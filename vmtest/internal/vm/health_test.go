package vm

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// patient answers questions as a guest in some state does.
type patient struct {
	agentTime   time.Duration // 0 is never
	agentErr    error
	noAgent     bool
	monitorTime time.Duration // 0 is never
	status      string
	ran, waited float64 // shares of the time, of its one processor
}

func (p patient) questions(ctx context.Context) questions {
	began := time.Now()
	q := questions{
		monitor: func() monitorAnswer {
			if p.monitorTime == 0 {
				<-ctx.Done() // the test's
				return monitorAnswer{err: errors.New("closed")}
			}
			time.Sleep(p.monitorTime)
			return monitorAnswer{status: p.status, threads: []int{7}}
		},
		usages: func(threads []int) []qemu.Usage {
			since := float64(time.Since(began))
			return []qemu.Usage{{Ran: time.Duration(since * p.ran), Waited: time.Duration(since * p.waited)}}
		},
	}
	if !p.noAgent {
		q.agent = func(ctx context.Context) error {
			if p.agentTime == 0 {
				<-ctx.Done()
				return ctx.Err()
			}
			time.Sleep(p.agentTime)
			return p.agentErr
		}
	}
	return q
}

func TestHealth(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name    string
		patient patient
		within  time.Duration
		want    string
	}{
		{"well", patient{agentTime: 4 * ms, monitorTime: ms, status: "running"}, 4 * ms,
			"the guest is well: its agent answered in 4ms"},
		{"slow", patient{agentTime: 1234 * ms, monitorTime: ms, status: "running", ran: 1}, 1234 * ms,
			"the guest is slow, not wedged: its agent answered in 1.2s"},
		{"paused", patient{monitorTime: ms, status: "paused"}, ms,
			`the guest is paused: QEMU's status is "paused", it was stopped through QEMU's monitor, as for a snapshot`},
		{"io-error", patient{monitorTime: ms, status: "io-error"}, ms,
			`the guest is paused: QEMU's status is "io-error", its disk failed`},
		{"other status", patient{monitorTime: ms, status: "watchdog"}, ms,
			`the guest is paused: QEMU's status is "watchdog"`},
		{"spinning", patient{monitorTime: ms, status: "running", ran: 0.97}, 2 * time.Second,
			"the guest is spinning: its processor has been busy for 2s and its agent does not answer"},
		{"spinning on a busy host", patient{monitorTime: ms, status: "running", ran: 0.3, waited: 0.6}, 2 * time.Second,
			"the guest is spinning: its processor has been busy for 2s and its agent does not answer; the host let it wait for a processor for 1.2s of that"},
		{"idle", patient{monitorTime: ms, status: "running", ran: 0.01}, 2 * time.Second,
			"the guest is idle: its processor had nothing to do for 2s and its agent does not answer"},
		{"half-busy", patient{monitorTime: ms, status: "running", ran: 0.5}, 2 * time.Second,
			"the guest is half-busy: its processor was busy for 1s of 2s and its agent does not answer"},
		{"booting", patient{noAgent: true, monitorTime: ms, status: "running", ran: 1}, 2 * time.Second,
			"the guest is still booting, or spinning: its processor has been busy for 2s and its agent has not come up"},
		{"agent gone", patient{agentTime: ms, agentErr: errors.New("link lost"), monitorTime: 2 * ms, status: "running"}, 2 * ms,
			"QEMU runs and its agent has closed the link"},
		{"asleep", patient{agentTime: 2 * ms, agentErr: errors.New("link lost"), monitorTime: ms, status: "suspended"}, ms,
			`the guest is paused: QEMU's status is "suspended", it went to sleep and nothing wakes it`},
		{"monitor silent", patient{}, 2 * time.Second,
			"QEMU is wedged: its monitor did not answer within 2s, and its agent does not answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), examineTime)
				defer cancel()
				var h Health
				h.put(ctx, test.patient.questions(t.Context()))
				assert.Equal(t, test.want, h.String())
				assert.Equal(t, test.within, time.Since(began), "time that it took")
				time.Sleep(time.Minute) // for the answers that come too late
			})
		})
	}
}

func TestHealthWithoutQuestions(t *testing.T) {
	assert.Equal(t, "QEMU itself is stopped, by a signal or a debugger (kill -CONT 42 lets it go on)", Health{stopped: true, pid: 42}.String())
	assert.Equal(t, "the guest is gone; it ran out of memory before: its kernel killed process 3 (x)", Health{gone: true, Victim: "process 3 (x)"}.String())
}

func TestBusiestProcessor(t *testing.T) {
	before := []qemu.Usage{{Ran: 5}, {Ran: 50}, {Ran: 7}}
	after := []qemu.Usage{{Ran: 6}, {Ran: 60, Waited: 1}, {Ran: 7}}
	assert.Equal(t, qemu.Usage{Ran: 10, Waited: 1}, busiest(before, after))
	assert.Zero(t, busiest(before, nil))
}

func TestOutOfMemory(t *testing.T) {
	assert.Empty(t, outOfMemory([]byte("Debian GNU/Linux 13 localhost ttyS0\r\n")))
	assert.Equal(t, "process 182 (tail)", outOfMemory([]byte(
		"[   12.1] Out of memory: Killed process 181 (dbus-daemon) total-vm:432504kB\r\n"+
			"[   12.3] Memory cgroup out of memory: Killed process 182 (tail) total-vm:1kB\r\n")))
	assert.Equal(t, "process 9 (a\ufffdb)", outOfMemory([]byte("Out of memory: Killed process 9 (a\x1b[31m\x07b) total-vm")))
}
