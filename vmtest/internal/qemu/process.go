package qemu

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
)

// Process is a running QEMU and the host's ends of its streams. The caller closes the
// streams; Kill closes them too, but for Journal, which may still have to be read.
type Process struct {
	Console net.Conn        // what the guest writes to its serial console
	Link    net.Conn        // the guest link's virtio-serial port
	Journal net.Conn        // the journal's virtio-serial port
	Systemd *net.UnixConn   // the virtio-serial port of the connection to PID 1
	Monitor *net.UnixConn   // QMP
	NICs    []*net.UnixConn // frames of the network interfaces, see nic

	cmd    *exec.Cmd
	stderr *tail.Buffer
	done   chan struct{}
	err    error // once done is closed

	mu     sync.Mutex
	exited bool // QEMU, and its process group may have another owner soon
}

// ExitError reports that QEMU has exited.
type ExitError struct {
	State  *os.ProcessState
	Stderr string // the end of what it printed

	memoryFile bool // whether Machine.RAM was set
}

func (e *ExitError) Error() string {
	msg := "QEMU exited: " + e.State.String()
	if s, ok := e.State.Sys().(syscall.WaitStatus); ok && e.memoryFile && s.Signaled() && s.Signal() == syscall.SIGBUS {
		msg += " (no page for its memory file; the file system of the cache may be full)"
	}
	if e.Stderr != "" {
		msg += "; it printed: " + e.Stderr
	}
	return msg
}

// stderrKept bounds how much of QEMU's standard error is kept, in bytes.
const stderrKept = 8 << 10

// stderrTime bounds how long Process.Done waits, after QEMU's end, for the end of its
// standard error. A process that QEMU's wrapper left may hold that open.
const stderrTime = time.Second

// Start runs m. The error is a *host.Error if the host has no QEMU. The kernel kills QEMU
// when this process ends, however it ends.
func Start(m Machine) (*Process, error) {
	path, err := m.binary()
	if err != nil {
		return nil, err
	}
	p := &Process{stderr: tail.NewBuffer(stderrKept), done: make(chan struct{})}
	var w wires
	defer func() { w.close() }()
	if err := p.wire(&w, m.NICs); err != nil {
		p.closeAll()
		return nil, err
	}
	list, files, err := m.commandLine(w)
	if err != nil {
		p.closeAll()
		return nil, err
	}
	p.cmd = exec.Command(path, list...)
	p.cmd.ExtraFiles = files
	p.cmd.Stderr = p.stderr
	p.cmd.WaitDelay = stderrTime
	// In its own group QEMU gets no Ctrl-C from the terminal. This process gets it, and
	// ends QEMU.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := startFromLastingThread(p.cmd); err != nil {
		p.closeAll()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	go func() {
		p.endGroup()
		p.cmd.Wait() // the result is in ProcessState
		p.err = &ExitError{State: p.cmd.ProcessState, Stderr: p.stderr.String(), memoryFile: m.RAM != nil}
		close(p.done)
	}()
	return p, nil
}

// endGroup waits until QEMU has exited and kills what is left of its group. If QEMU's
// binary is a wrapper, that is QEMU.
func (p *Process) endGroup() {
	// Not reaped, so the group's number is not used again.
	for unix.Waitid(unix.P_PID, p.Pid(), nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killGroup()
	p.exited = true
}

// killGroup fails only if all of the group have exited.
func (p *Process) killGroup() { _ = unix.Kill(-p.Pid(), unix.SIGKILL) }

// binary returns the path of QEMU's executable. The error is a *host.Error if the host
// lacks it.
func (m Machine) binary() (string, error) {
	arch, err := lookupArch(m.Arch)
	if err != nil {
		return "", err
	}
	name := m.Binary
	if name == "" {
		name = arch.binary
	}
	if !strings.Contains(name, "/") {
		return host.FindTool(name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find QEMU: %w", err)
	}
	return path, nil
}

// Done is closed once QEMU has exited.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns an *ExitError once Done is closed.
func (p *Process) Err() error { return p.err }

// Args returns QEMU's command line.
func (p *Process) Args() []string { return p.cmd.Args }

// Pid returns QEMU's process ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Stderr returns the end of what QEMU has printed to its standard error.
func (p *Process) Stderr() string { return p.stderr.String() }

// Kill kills QEMU and its process group and waits until QEMU is gone. The guest gets no
// notice.
func (p *Process) Kill() {
	p.mu.Lock()
	if !p.exited {
		p.killGroup()
	}
	p.mu.Unlock()
	<-p.done
	p.closeWires()
}

// wire makes the streams.
func (p *Process) wire(w *wires, nics int) (err error) {
	for _, s := range []struct {
		name   string
		ours   *net.Conn
		theirs **os.File
	}{
		{"console", &p.Console, &w.console},
		{"link", &p.Link, &w.link},
		{"journal", &p.Journal, &w.journal},
	} {
		conn, file, err := Wire(s.name)
		if err != nil {
			return err
		}
		*s.ours, *s.theirs = conn, file
	}
	if p.Systemd, w.systemd, err = Wire("systemd"); err != nil {
		return err
	}
	for range nics {
		conn, file, err := Wire("nic")
		if err != nil {
			return err
		}
		p.NICs, w.nics = append(p.NICs, conn), append(w.nics, file)
	}
	p.Monitor, w.monitor, err = Wire("monitor")
	return err
}

func (p *Process) closeAll() {
	p.closeWires()
	if p.Journal != nil {
		p.Journal.Close()
	}
}

func (p *Process) closeWires() {
	if p.Console != nil {
		p.Console.Close()
	}
	if p.Link != nil {
		p.Link.Close()
	}
	if p.Systemd != nil {
		p.Systemd.Close()
	}
	if p.Monitor != nil {
		p.Monitor.Close()
	}
	for _, conn := range p.NICs {
		conn.Close()
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
