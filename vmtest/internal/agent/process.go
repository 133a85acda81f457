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
	reaped bool // from here on the kernel may give the process id away
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	began := time.Now()
	if err := unprotected(cmd.Start); err != nil {
		if cmd.Process != nil { // it runs; the agent's own score could not be set back
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		return nil, err
	}
	return &process{Cmd: cmd, began: began}, nil
}

// wait reaps the process when it has ended.
func (p *process) wait() syscall.WaitStatus {
	// Wait for the exit without reaping first: until the lock is held, a
	// signal in flight must find this process under its number, not another.
	for {
		err := unix.Waitid(unix.P_PID, p.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.elapsed = time.Since(p.began)
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.Cmd.Wait() // an exit other than 0 is an error; the state tells more
	p.reaped = true
	status, _ := p.ProcessState.Sys().(syscall.WaitStatus)
	return status
}

// signal sends to the process group. It does nothing after the process ended.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	return unix.Kill(-p.Process.Pid, sig)
}

// kill ends every process of the session and returns when they have. It does
// nothing after the process ended: what it left behind on purpose lives until
// the connection ends.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	// The group at once, so that a shell does not go on with its next command
	// when its child dies.
	_ = unix.Kill(-p.Process.Pid, unix.SIGKILL)
	killSessions(map[int]struct{}{p.Process.Pid: {}})
}

// signalName is a signal's name without SIG, its number when it has none.
func signalName(sig syscall.Signal) string {
	name := unix.SignalName(sig)
	if name == "" {
		return strconv.Itoa(int(sig))
	}
	return strings.TrimPrefix(name, "SIG")
}
