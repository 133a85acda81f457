package qemu

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
)

// Process is a running QEMU and the host's ends of its streams. The caller closes the
// streams; Kill closes them too.
type Process struct {
	Console net.Conn      // what the guest writes to its serial console
	Link    net.Conn      // the guest link's virtio-serial port
	Monitor *net.UnixConn // QMP

	cmd    *exec.Cmd
	stderr *tail.Buffer
	done   chan struct{}
	err    error // once done is closed
}

// MissingError reports that the host has no QEMU.
type MissingError struct {
	Binary string // e.g. "qemu-system-x86_64"
	Err    error
}

func (e *MissingError) Error() string { return fmt.Sprintf("find %s: %v", e.Binary, e.Err) }

func (e *MissingError) Unwrap() error { return e.Err }

// ExitError reports that QEMU has exited.
type ExitError struct {
	State  *os.ProcessState
	Stderr string // the end of what it printed
}

func (e *ExitError) Error() string {
	msg := "QEMU exited: " + e.State.String()
	if s, ok := e.State.Sys().(syscall.WaitStatus); ok && s.Signaled() && s.Signal() == syscall.SIGBUS {
		msg += " (no page for its memory file; the file system of the cache may be full)"
	}
	if e.Stderr != "" {
		msg += "; it printed: " + e.Stderr
	}
	return msg
}

// stderrKept bounds how much of QEMU's standard error is kept, in bytes.
const stderrKept = 8 << 10

// Start runs m. The kernel kills QEMU when this process ends, however it ends.
func Start(m Machine) (*Process, error) {
	path, err := m.binary()
	if err != nil {
		return nil, err
	}
	p := &Process{stderr: tail.NewBuffer(stderrKept), done: make(chan struct{})}
	var w wires
	defer func() {
		for _, f := range []*os.File{w.console, w.link, w.monitor} {
			if f != nil {
				f.Close()
			}
		}
	}()
	if p.Console, w.console, err = Wire("console"); err == nil {
		if p.Link, w.link, err = Wire("link"); err == nil {
			p.Monitor, w.monitor, err = Wire("monitor")
		}
	}
	if err != nil {
		p.closeWires()
		return nil, err
	}
	list, files, err := m.commandLine(w)
	if err != nil {
		p.closeWires()
		return nil, err
	}
	p.cmd = exec.Command(path, list...)
	p.cmd.ExtraFiles = files
	p.cmd.Stderr = p.stderr
	// In its own group QEMU gets no Ctrl-C from the terminal. This process gets it, and
	// ends QEMU.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := startFromLastingThread(p.cmd); err != nil {
		p.closeWires()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	go func() {
		p.cmd.Wait() // the result is in ProcessState
		p.err = &ExitError{State: p.cmd.ProcessState, Stderr: p.stderr.String()}
		close(p.done)
	}()
	return p, nil
}

// binary returns the path of QEMU's executable.
func (m Machine) binary() (string, error) {
	arch, err := lookupArch(m.Arch)
	if err != nil {
		return "", err
	}
	name := m.Binary
	if name == "" {
		name = arch.binary
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", &MissingError{Binary: name, Err: errors.Unwrap(err)}
	}
	return path, nil
}

// Done is closed once QEMU has exited.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns an *ExitError once Done is closed.
func (p *Process) Err() error { return p.err }

// Pid returns QEMU's process ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Stderr returns the end of what QEMU has printed to its standard error.
func (p *Process) Stderr() string { return p.stderr.String() }

// Kill ends QEMU and waits until it is gone. The guest is not told.
func (p *Process) Kill() {
	p.cmd.Process.Kill() // fails only if it has exited already
	<-p.done
	p.closeWires()
}

func (p *Process) closeWires() {
	if p.Console != nil {
		p.Console.Close()
	}
	if p.Link != nil {
		p.Link.Close()
	}
	if p.Monitor != nil {
		p.Monitor.Close()
	}
}

// Wire returns a connected pair of stream sockets: one end for this process, the other
// for QEMU to inherit. Neither has a name to which another process could connect. The
// caller closes both.
func Wire(name string) (*net.UnixConn, *os.File, error) {
	ours, theirs, err := host.SocketPair(name)
	if err != nil {
		return nil, nil, err
	}
	conn, err := host.UnixConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}
