package slots

import (
	"os"

	"golang.org/x/sys/unix"
)

// Locks on single bytes that belong to an open file, not to a process (fcntl(2), open
// file description locks): one process can hold two tickets, and closing one file
// releases no lock of another.

// lockByte locks a byte. The error is EAGAIN or EACCES if another open file has locked it.
func lockByte(f *os.File, at int64) error { return setLock(f, unix.F_WRLCK, at) }

func unlockByte(f *os.File, at int64) error { return setLock(f, unix.F_UNLCK, at) }

func setLock(f *os.File, kind int16, at int64) error {
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: at, Len: 1})
		if err != unix.EINTR {
			return os.NewSyscallError("fcntl", err)
		}
	}
}

// findLock returns a byte of [from, to) that another open file has locked, not
// necessarily the first one.
func findLock(f *os.File, from, to int64) (at int64, found bool, err error) {
	if from >= to {
		return 0, false, nil
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: from, Len: to - from}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return 0, false, os.NewSyscallError("fcntl", err)
	}
	return lock.Start, lock.Type != unix.F_UNLCK, nil
}

// countLocks counts the bytes of [from, to) that other open files have locked, without
// those for which skip returns true.
func countLocks(f *os.File, from, to int64, skip func(at int64) bool) (int, error) {
	at, found, err := findLock(f, from, to)
	if err != nil || !found {
		return 0, err
	}
	n := 1
	if skip != nil && skip(at) {
		n = 0
	}
	below, err := countLocks(f, from, at, skip)
	if err != nil {
		return 0, err
	}
	above, err := countLocks(f, at+1, to, skip)
	return below + n + above, err
}

// lastLock returns the last byte of [from, to) that another open file has locked,
// or from-1 if there is none.
func lastLock(f *os.File, from, to int64) (int64, error) {
	last := from - 1
	for {
		at, found, err := findLock(f, last+1, to)
		if err != nil || !found {
			return last, err
		}
		last = at
	}
}
