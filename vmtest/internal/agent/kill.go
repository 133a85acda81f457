package agent

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
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
	state, parent, session := stat(pid)
	if state == 0 || state == 'Z' || state == 'X' {
		return false
	}
	if _, ok := sessions[session]; !ok {
		return false
	}
	leaderState, leaderParent, _ := stat(session)
	if pid == session {
		return parent == os.Getpid()
	}
	return leaderState == 0 || leaderParent == os.Getpid()
}

// stat returns state, parent and session of a process. state is 0 if there is no such
// process.
func stat(pid int) (state byte, parent, session int) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, 0
	}
	return parseStat(text)
}

// parseStat parses /proc/PID/stat, see proc(5). It returns 0 for a text of another
// form.
func parseStat(text []byte) (state byte, parent, session int) {
	// The command's name is in parentheses and can have any byte.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 4 {
		return 0, 0, 0
	}
	parent, _ = strconv.Atoi(string(fields[1]))
	session, _ = strconv.Atoi(string(fields[3]))
	return fields[0][0], parent, session
}
