package qemu

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"example.org/systemd-vmtest/internal/proc"
)

// Stopped reports whether QEMU itself is stopped, by a signal or a debugger.
func (p *Process) Stopped() bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return false
	}
	stat, err := proc.ParseStat(data)
	return err == nil && (stat.State == 'T' || stat.State == 't')
}

// Asleep reports whether all of some of QEMU's threads wait for something.
func (p *Process) Asleep(threads []int) bool {
	for _, thread := range threads {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", p.Pid(), thread))
		if err != nil {
			return false
		}
		if stat, err := proc.ParseStat(data); err != nil || stat.State != 'S' {
			return false
		}
	}
	return true
}

// Usage is the time that a thread has had on the host's processors so far.
type Usage struct {
	Ran    time.Duration // it ran
	Waited time.Duration // it was ready to run while others ran
}

// Usage returns the usage of one of QEMU's threads.
func (p *Process) Usage(thread int) (Usage, error) {
	return threadUsage(p.Pid(), thread)
}

// Usages returns the usages of all of QEMU's threads, by thread ID. It returns nil if
// QEMU has exited.
func (p *Process) Usages() map[int]Usage {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.Pid()))
	if err != nil {
		return nil
	}
	all := make(map[int]Usage)
	for _, task := range tasks {
		thread, err := strconv.Atoi(task.Name())
		if err != nil {
			continue
		}
		if u, err := p.Usage(thread); err == nil { // or the thread has ended
			all[thread] = u
		}
	}
	return all
}

// threadUsage reads schedstat (the kernel's sched-stats.rst), which has the wait too, or
// else stat.
func threadUsage(pid, thread int) (Usage, error) {
	task := fmt.Sprintf("/proc/%d/task/%d/", pid, thread)
	if data, err := os.ReadFile(task + "schedstat"); err == nil {
		if u, ok := parseSchedstat(data); ok {
			return u, nil
		}
	}
	data, err := os.ReadFile(task + "stat")
	if err != nil {
		return Usage{}, fmt.Errorf("read processor time: %w", err)
	}
	stat, err := proc.ParseStat(data) // it has no wait
	if err != nil {
		return Usage{}, fmt.Errorf("read processor time: %sstat: %w", task, err)
	}
	return Usage{Ran: stat.Ran}, nil
}

// parseSchedstat parses a thread's schedstat. All of it is 0 if the kernel does not
// count.
func parseSchedstat(data []byte) (Usage, bool) {
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return Usage{}, false
	}
	ran, err1 := strconv.ParseInt(string(fields[0]), 10, 64)
	waited, err2 := strconv.ParseInt(string(fields[1]), 10, 64)
	if err1 != nil || err2 != nil || ran <= 0 || waited < 0 {
		return Usage{}, false
	}
	return Usage{Ran: time.Duration(ran), Waited: time.Duration(waited)}, true
}
