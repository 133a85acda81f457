// Package pty makes pseudo-terminals (pty(7)).
package pty

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open makes a terminal and returns both of its ends, which the caller closes. terminal is
// what a program gets as its terminal, and master is the other end, which shows what the
// program writes. A Read of master ends with EIO when nothing has the terminal open.
func Open() (master, terminal *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make terminal: %w", err)
	}
	var number int
	err = Control(master, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return os.NewSyscallError("ioctl", err)
	})
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("make terminal: %w", err)
	}
	return master, terminal, nil
}

// Control calls f with the descriptor of a file, unless the file is closed. File.Fd would
// make a Read in progress one that no Close ends.
func Control(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if errControl := conn.Control(func(fd uintptr) { err = f(int(fd)) }); errControl != nil {
		return errControl
	}
	return err
}

// Resize sets the size of a terminal in characters, by either of its ends. The kernel tells
// the foreground process by SIGWINCH.
func Resize(end *os.File, columns, rows int) error {
	return Control(end, func(fd int) error {
		size := unix.Winsize{Col: uint16(columns), Row: uint16(rows)}
		return os.NewSyscallError("ioctl", unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &size))
	})
}
