package agent

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a child that leads a session and a process group of its own.
type process struct {
	*exec.Cmd
	began   time.Time
	elapsed time.Duration // from began to the end; set by wait

	mu     sync.Mutex
	reaped bool // from then on the kernel can reuse the process ID
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	began := time.Now()
	if err := unprotected(cmd.Start); err != nil {
		if cmd.Process != nil { // it runs, but the agent's own score was not restored
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		return nil, err
	}
	return &process{Cmd: cmd, began: began}, nil
}

// wait waits for the end of the process and reaps it.
func (p *process) wait() syscall.WaitStatus {
	// First without reaping: before the lock is held, another call can send a signal
	// to this process's number.
	for {
		err := unix.Waitid(unix.P_PID, p.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.elapsed = time.Since(p.began)
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.Cmd.Wait() // its error says less than the state
	p.reaped = true
	status, _ := p.ProcessState.Sys().(syscall.WaitStatus)
	return status
}

// signal sends a signal to the process group. It does nothing after the process has
// been reaped.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	return unix.Kill(-p.Process.Pid, sig)
}

// kill ends every process of the session and returns when they have ended. It does
// nothing after the process has been reaped: what it left behind runs until the
// connection ends.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	// The group at once, because a shell would run its next command when its child
	// dies.
	_ = unix.Kill(-p.Process.Pid, unix.SIGKILL)
	killSessions(map[int]struct{}{p.Process.Pid: {}})
}

// signalName returns a signal's name without SIG, or its number if it has no name.
func signalName(sig syscall.Signal) string {
	name := unix.SignalName(sig)
	if name == "" {
		return strconv.Itoa(int(sig))
	}
	return strings.TrimPrefix(name, "SIG")
}
