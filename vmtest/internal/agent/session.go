package agent

import (
	"encoding/json"
	"errors"
	"os"
	"sync"
	"syscall"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// session is a "session" channel (RFC 4254, section 6). It takes an environment, and
// then one command, shell or subsystem.
type session struct {
	conn *connection
	ch   ssh.Channel
	env  []string
	term *terminal // that the client asked for, or nil

	busy    bool // a command, shell or subsystem was requested
	cmd     *command
	failure error // why the command did not start
	tasks   sync.WaitGroup
}

// serve returns when the channel is closed and the session's processes have ended.
func (s *session) serve(requests <-chan *ssh.Request) {
	for req := range requests {
		ok := s.handle(req)
		if err := req.Reply(ok, nil); err != nil {
			s.conn.log.Debug("reply to session request", "name", req.Type, "err", err)
		}
		if s.failure != nil {
			s.refuse(s.failure) // after the reply, because it closes the channel
			s.failure = nil
		}
	}
	// The client has closed the channel, perhaps because a context has ended, or
	// the connection has ended. Nobody reads the output any more.
	if s.cmd != nil {
		s.cmd.kill()
	} else if s.term != nil {
		s.term.close()
	}
	s.tasks.Wait()
}

func (s *session) handle(req *ssh.Request) bool {
	switch req.Type {
	case "env":
		var env struct{ Name, Value string }
		if ssh.Unmarshal(req.Payload, &env) != nil {
			return false
		}
		s.env = append(s.env, env.Name+"="+env.Value)
		return true
	case "pty-req":
		return s.makeTerminal(req.Payload)
	case "window-change":
		var size wire.WindowSize
		return s.term != nil && ssh.Unmarshal(req.Payload, &size) == nil && s.term.resize(size) == nil
	case "exec":
		var exec struct{ Command string }
		if ssh.Unmarshal(req.Payload, &exec) != nil {
			return false
		}
		return s.start(shell("-c", exec.Command))
	case "shell":
		return s.start(s.loginShell())
	case wire.ArgvRequest:
		var argv wire.Argv
		if s.failure = ssh.Unmarshal(req.Payload, &argv); s.failure != nil {
			return false
		}
		return s.start(argv)
	case "subsystem":
		var subsystem wire.Subsystem
		if ssh.Unmarshal(req.Payload, &subsystem) != nil || subsystem.Name != "sftp" || s.busy {
			return false
		}
		s.busy = true
		s.tasks.Go(s.serveSFTP)
		return true
	case "signal":
		var signal wire.Signal
		if ssh.Unmarshal(req.Payload, &signal) != nil {
			return false
		}
		return s.signal(signal.Name)
	}
	return false
}

// makeTerminal makes the terminal of a command that is yet to come.
func (s *session) makeTerminal(payload []byte) bool {
	var pty wire.PTY
	if s.busy || s.term != nil || ssh.Unmarshal(payload, &pty) != nil {
		return false
	}
	var err error
	s.term, err = newTerminal(pty)
	if err != nil {
		s.conn.log.Warn("make terminal", "err", err)
	}
	return err == nil
}

// loginShell is what the request shell runs. A person at a terminal gets bash where the
// guest has it.
func (s *session) loginShell() wire.Argv {
	if s.term == nil {
		return shell()
	}
	argv := shell("-l")
	if _, err := os.Stat("/bin/bash"); err == nil {
		argv.Args = wire.Pack([]string{"/bin/bash", "-l"})
	}
	return argv
}

// shell returns what the requests exec and shell run, with all three streams.
func shell(args ...string) wire.Argv {
	argv := append([]string{"/bin/sh"}, args...)
	return wire.Argv{Args: wire.Pack(argv), Stdin: true, Stdout: true, Stderr: true}
}

func (s *session) start(argv wire.Argv) bool {
	if s.busy {
		return false
	}
	s.busy = true
	cmd, err := startCommand(argv, s.env, s.term)
	if err != nil {
		s.failure = err
		return false
	}
	s.cmd = cmd
	s.conn.started(cmd.Process.Pid)
	s.conn.log.Debug("command started", "path", cmd.Path, "pid", cmd.Process.Pid)
	s.tasks.Go(func() { s.finish(cmd) })
	return true
}

// refuse sends the client the reason why its command did not start, and closes the
// channel.
func (s *session) refuse(cause error) {
	failure := wire.StartError{Message: cause.Error()}
	if errno := syscall.Errno(0); errors.As(cause, &errno) {
		failure.Errno = int(errno)
	}
	payload, err := json.Marshal(failure)
	if err == nil {
		_, err = s.ch.SendRequest(wire.StartErrorRequest, false, payload)
	}
	s.conn.log.Debug("command not started", "cause", cause, "err", err)
	s.ch.Close()
}

// finish copies a command's streams, sends its exit and closes the channel.
func (s *session) finish(cmd *command) {
	// The copy of standard input ends with the channel, not with the command.
	s.tasks.Go(func() { cmd.feed(s.ch) })
	status := cmd.run(s.ch)
	s.conn.log.Debug("command ended", "path", cmd.Path, "pid", cmd.Process.Pid, "status", int(status))

	// Before the exit, because a client can stop reading after that.
	elapsed := ssh.Marshal(wire.Elapsed{Nanoseconds: uint64(cmd.elapsed)})
	if _, err := s.ch.SendRequest(wire.ElapsedRequest, false, elapsed); err != nil {
		s.conn.log.Debug("send time of command", "err", err)
	}
	name, payload := "exit-status", ssh.Marshal(wire.ExitStatus{Status: uint32(status.ExitStatus())})
	if status.Signaled() {
		name, payload = "exit-signal", ssh.Marshal(wire.ExitSignal{
			Signal:     wire.SignalName(signalName(status.Signal())),
			CoreDumped: status.CoreDump(),
		})
	}
	// These fail if the client has left, which then needs neither.
	_, _ = s.ch.SendRequest(name, false, payload)
	_ = s.ch.Close()
}

// signal sends a signal to the process group, as OpenSSH's server does. KILL also goes
// to the other groups of the command's session.
func (s *session) signal(name string) bool {
	sig := unix.SignalNum("SIG" + wire.BareSignal(name))
	if sig == 0 || s.cmd == nil {
		return false
	}
	if sig == unix.SIGKILL {
		s.cmd.kill()
		return true
	}
	return s.cmd.signal(sig) == nil
}

func (s *session) serveSFTP() {
	server, err := sftp.NewServer(s.ch, sftp.WithMaxTxPacket(wire.MaxFileData))
	if err == nil {
		err = server.Serve()
	}
	var status wire.ExitStatus
	if err != nil {
		s.conn.log.Warn("serve sftp", "err", err)
		status.Status = 1
	}
	_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(status))
	_ = s.ch.Close()
}
