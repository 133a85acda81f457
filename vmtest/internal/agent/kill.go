package agent

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/proc"
)

// killWait bounds the wait for killed processes, because a process can hang in the
// kernel.
const killWait = 2 * time.Second

// killSessions kills all processes of the sessions. It returns when they have ended,
// or after killWait.
func killSessions(sessions map[int]struct{}) {
	if len(sessions) == 0 {
		return
	}
	deadline := time.Now().Add(killWait)
	// Until none is found, because a process can fork during the search.
	for time.Now().Before(deadline) {
		killed := false
		for _, pid := range members(sessions) {
			killed = killMember(pid, sessions, deadline) || killed
		}
		if !killed {
			return
		}
	}
}

// killMember kills a process if it belongs to one of the sessions, and reports whether
// it did.
func killMember(pid int, sessions map[int]struct{}, deadline time.Time) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	// Another process can have got the number since it was read, but not the
	// descriptor.
	if !isMember(pid, sessions) {
		return false
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return false
	}
	for {
		left := max(time.Until(deadline), 0)
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int(left.Milliseconds())); err != unix.EINTR {
			return true
		}
	}
}

// members returns the live processes of the sessions.
func members(sessions map[int]struct{}) []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var found []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && isMember(pid, sessions) {
			found = append(found, pid)
		}
	}
	return found
}

// isMember reports whether a live process belongs to one of the sessions. After a
// session's leader was reaped, the kernel does not reuse its number while the session
// has members. So if the leader is alive and not the agent's child, the session is
// another one.
func isMember(pid int, sessions map[int]struct{}) bool {
	process, ok := stat(pid)
	if !ok || process.State == 'Z' || process.State == 'X' {
		return false
	}
	if _, ok := sessions[process.Session]; !ok {
		return false
	}
	if pid == process.Session {
		return process.Parent == os.Getpid()
	}
	leader, ok := stat(process.Session)
	return !ok || leader.Parent == os.Getpid()
}

// stat reports whether there is such a process, and what it is.
func stat(pid int) (proc.Stat, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return proc.Stat{}, false
	}
	s, err := proc.ParseStat(text)
	return s, err == nil
}
