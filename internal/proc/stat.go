// Package proc parses what the kernel shows of a process.
package proc

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// Stat is what /proc/PID/stat has of a process or thread; see proc_pid_stat(5).
type Stat struct {
	State   byte // such as 'R' or 'Z'
	Parent  int
	Session int
	Ran     time.Duration // on a processor, in user and in kernel mode
}

// The fields after the name, whose numbers in the manual are higher by 3.
const (
	state   = 0
	parent  = 1
	session = 3
	user    = 11
	system  = 12
)

// tick is a second divided by USER_HZ, which is the same on all platforms of Go.
const tick = time.Second / 100

// ParseStat parses the content of /proc/PID/stat.
func ParseStat(text []byte) (Stat, error) {
	// The name is in parentheses and may contain any byte.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) <= system {
		return Stat{}, fmt.Errorf("parse stat: %d fields after the name", len(fields))
	}
	var numbers [system + 1]uint64
	for _, i := range []int{parent, session, user, system} {
		n, err := strconv.ParseUint(string(fields[i]), 10, 38) // 87 years of ticks
		if err != nil {
			return Stat{}, fmt.Errorf("parse stat: %w", err)
		}
		numbers[i] = n
	}
	return Stat{
		State:   fields[state][0],
		Parent:  int(numbers[parent]),
		Session: int(numbers[session]),
		Ran:     time.Duration(numbers[user]+numbers[system]) * tick,
	}, nil
}
