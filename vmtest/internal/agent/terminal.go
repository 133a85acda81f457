package agent

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// terminal is a pseudo-terminal (pty(7)) for the command of a session.
type terminal struct {
	name   string   // of its type, for TERM
	master *os.File // ours; closed with the command's output
	slave  *os.File // the command's; closed once it has started
}

// newTerminal makes a terminal of the size that req asks for. Its modes are the kernel's
// defaults, and it edits lines as UTF-8.
func newTerminal(req wire.PTY) (*terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("make terminal: %w", err)
	}
	t := &terminal{name: req.Term, master: master}
	if err := t.open(wire.WindowSize{Columns: req.Columns, Rows: req.Rows, Width: req.Width, Height: req.Height}); err != nil {
		t.close()
		return nil, fmt.Errorf("make terminal: %w", err)
	}
	return t, nil
}

func (t *terminal) open(size wire.WindowSize) error {
	var number int
	err := t.control(func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	})
	if err != nil {
		return os.NewSyscallError("ioctl", err)
	}
	if t.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return err
	}
	fd := int(t.slave.Fd()) // which blocks from now on, as a program's terminal does
	modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return os.NewSyscallError("tcgetattr", err)
	}
	modes.Iflag |= unix.IUTF8
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, modes); err != nil {
		return os.NewSyscallError("tcsetattr", err)
	}
	return t.resize(size)
}

// control calls f with the master's descriptor, unless it is closed.
func (t *terminal) control(f func(fd int) error) error {
	conn, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	if errControl := conn.Control(func(fd uintptr) { err = f(int(fd)) }); errControl != nil {
		return errControl
	}
	return err
}

// resize sets the size. The kernel tells the foreground process by SIGWINCH.
func (t *terminal) resize(size wire.WindowSize) error {
	return t.control(func(fd int) error {
		ws := unix.Winsize{Col: uint16(size.Columns), Row: uint16(size.Rows), Xpixel: uint16(size.Width), Ypixel: uint16(size.Height)}
		return os.NewSyscallError("ioctl", unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &ws))
	})
}

// launch starts cmd with the terminal as its three streams and as its controlling terminal.
func (t *terminal) launch(cmd *exec.Cmd) (_ *command, err error) {
	defer t.slave.Close()
	c := &command{stdout: t.master}
	defer func() {
		if err != nil {
			c.closePipes()
		}
	}()
	err = t.control(func(fd int) error {
		in, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("dup", err)
		}
		c.stdin = os.NewFile(uintptr(in), t.master.Name()) // feed closes it, and not the output
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := give(cmd, []*os.File{t.slave}); err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.slave, t.slave, t.slave
	cmd.SysProcAttr.Setctty = true // descriptor 0, which Ctty names
	if c.process, err = startProcess(cmd); err != nil {
		return nil, userError(cmd, err)
	}
	return c, nil
}

func (t *terminal) close() {
	t.master.Close()
	if t.slave != nil {
		t.slave.Close()
	}
}
