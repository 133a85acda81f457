package qemu

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Stopped tells whether QEMU itself is stopped, by a signal or a debugger
// (proc_pid_stat(5)).
func (p *Process) Stopped() bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return false
	}
	// The command's name stands in parentheses and may contain any byte.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	return len(fields) > 0 && (fields[0][0] == 'T' || fields[0][0] == 't')
}

// Usage is what a thread has had of the host's processors so far.
type Usage struct {
	Ran    time.Duration // it ran
	Waited time.Duration // it could have run, and others did
}

// Usage returns that of one of QEMU's threads.
func (p *Process) Usage(thread int) (Usage, error) {
	return threadUsage(p.Pid(), thread)
}

// threadUsage reads schedstat (the kernel's sched-stats.rst), which knows the wait
// too, or else stat.
func threadUsage(pid, thread int) (Usage, error) {
	task := fmt.Sprintf("/proc/%d/task/%d/", pid, thread)
	if data, err := os.ReadFile(task + "schedstat"); err == nil {
		var u Usage
		n, _ := fmt.Sscan(string(data), (*int64)(&u.Ran), (*int64)(&u.Waited))
		if n == 2 && u.Ran > 0 { // all 0 where the kernel does not count
			return u, nil
		}
	}
	data, err := os.ReadFile(task + "stat")
	if err != nil {
		return Usage{}, fmt.Errorf("read processor time: %w", err)
	}
	const user, system = 11, 12 // fields 14 and 15, counted from after the name
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	var ticks int64
	for _, i := range []int{user, system} {
		if len(fields) <= i {
			return Usage{}, fmt.Errorf("read processor time: %sstat has %d fields", task, len(fields))
		}
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("read processor time: %w", err)
		}
		ticks += n
	}
	const tick = time.Second / 100 // USER_HZ, the same on all that Go runs on
	return Usage{Ran: time.Duration(ticks) * tick}, nil
}
