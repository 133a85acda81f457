package agent

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/pty"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// terminal is a pseudo-terminal (pty(7)) for the command of a session.
type terminal struct {
	name   string   // of its type, for TERM
	master *os.File // ours; closed with the command's output
	slave  *os.File // the command's; closed once it has started
}

// newTerminal makes the terminal that req asks for. Its modes are the kernel's defaults,
// and it edits lines as UTF-8.
func newTerminal(req wire.PTY) (*terminal, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	t := &terminal{name: req.Term, master: master, slave: slave}
	if err = editUTF8(slave); err == nil {
		err = pty.Resize(master, int(req.Columns), int(req.Rows))
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// editUTF8 makes a terminal erase a character and not a byte (termios(3), IUTF8).
func editUTF8(slave *os.File) error {
	return pty.Control(slave, func(fd int) error {
		modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			modes.Iflag |= unix.IUTF8
			err = unix.IoctlSetTermios(fd, unix.TCSETS, modes)
		}
		return os.NewSyscallError("ioctl", err)
	})
}

// resize sets the size.
func (t *terminal) resize(size wire.WindowSize) error {
	return pty.Resize(t.master, int(size.Columns), int(size.Rows))
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
	err = pty.Control(t.master, func(fd int) error {
		in, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			c.stdin = os.NewFile(uintptr(in), t.master.Name()) // feed closes it, and not the output
		}
		return os.NewSyscallError("dup", err)
	})
	if err != nil {
		return nil, err
	}
	if err := give(cmd, []*os.File{t.slave}); err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.slave, t.slave, t.slave // which makes it blocking
	cmd.SysProcAttr.Setctty = true                                // descriptor 0, which Ctty names
	if c.process, err = startProcess(cmd); err != nil {
		return nil, userError(cmd, err)
	}
	return c, nil
}

func (t *terminal) close() {
	t.master.Close()
	t.slave.Close()
}
