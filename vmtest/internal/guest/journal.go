package guest

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/tail"
)

// JournalPortName is the name of the virtio-serial port that carries the journal to the
// host.
const JournalPortName = "org.systemd-vmtest.journal"

// JournalRequest is the name of the control request that makes the agent send the journal
// of this boot through its port, in the export format, and go on with what is logged. Its
// payload is a JournalStart, marshalled by the ssh package. The port is closed when the
// stream ends. There must be no stream.
const JournalRequest = "journal"

// JournalStart says where the stream begins.
type JournalStart struct {
	// Cursor is that of the first entry, which may come again, or "" for all.
	Cursor string
}

// JournalEndRequest is the name of the control request that ends the stream if there is one.
// Its reply is a JournalEnd, marshalled by the ssh package.
const JournalEndRequest = "journal-end"

// JournalEnd says how the last stream has ended.
type JournalEnd struct {
	Stopped bool   // by this request: the port is closed now
	Cause   string // how journalctl ended otherwise, and what it printed, or ""
}

// journalStream is the journalctl that writes to the port, or that did last.
var journalStream follower

// follower runs one program at a time, which writes to a port.
type follower struct {
	mu     sync.Mutex
	cmd    *exec.Cmd
	stderr *tail.Buffer
	done   chan struct{} // closed when cmd has ended
}

// stderrKept is how much of what journalctl prints is kept, in bytes.
const stderrKept = 1 << 10

// stderrDelay bounds how long a process that cmd has left behind keeps its end from being seen.
const stderrDelay = time.Second

// start starts cmd, whose standard output is the port.
func (f *follower) start(cmd *exec.Cmd, port *os.File) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	stderr, done := tail.NewBuffer(stderrKept), make(chan struct{})
	cmd.Stdout, cmd.Stderr = port, stderr
	cmd.WaitDelay = stderrDelay
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start journalctl: %w", err)
	}
	f.cmd, f.stderr, f.done = cmd, stderr, done
	go func() {
		defer close(done)
		_ = cmd.Wait() // ProcessState has it, and the host sees that the port is closed
	}()
	return nil
}

// end ends the program if it runs, and returns how it ended.
func (f *follower) end() JournalEnd {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cmd == nil {
		return JournalEnd{}
	}
	stopped := false
	select {
	case <-f.done:
	default:
		_ = f.cmd.Process.Kill() // it fails if the program has ended by itself
		<-f.done
		status, _ := f.cmd.ProcessState.Sys().(syscall.WaitStatus)
		stopped = status.Signaled() && status.Signal() == syscall.SIGKILL
	}
	if stopped {
		f.cmd = nil
		return JournalEnd{Stopped: true}
	}
	cause := f.cmd.ProcessState.String()
	if text := f.stderr.String(); text != "" {
		cause += "; it printed: " + text
	}
	return JournalEnd{Cause: cause}
}

// startJournal answers a JournalRequest.
func startJournal(payload []byte) error {
	var start JournalStart
	if err := ssh.Unmarshal(payload, &start); err != nil {
		return fmt.Errorf("parse journal request: %w", err)
	}
	dev, err := waitPort(context.Background(), JournalPortName)
	if err != nil {
		return err
	}
	// Not by package os, which would make writes not block. Nothing but journalctl uses
	// the port, and it waits in the driver while the host is slow.
	fd, err := unix.Open(dev, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dev, err)
	}
	port := os.NewFile(uintptr(fd), dev)
	defer port.Close() // journalctl has its own
	args := []string{"--boot", "--follow", "--lines=all", "--output=export", "--all", "--no-pager", "--quiet"}
	// A cursor of another boot would be taken for a time of day.
	if boot, err := bootID("/"); err != nil {
		return err
	} else if strings.Contains(start.Cursor, ";b="+hex.EncodeToString(boot)+";") {
		args = append(args, "--cursor="+start.Cursor)
	}
	return journalStream.start(exec.Command("journalctl", args...), port)
}

// StartJournal sends a JournalRequest.
func StartJournal(ctx context.Context, c Controller, start JournalStart) error {
	if _, err := c.Control(ctx, JournalRequest, ssh.Marshal(start)); err != nil {
		return fmt.Errorf("start the journal's stream: %w", err)
	}
	return nil
}

// EndJournal sends a JournalEndRequest.
func EndJournal(ctx context.Context, c Controller) (JournalEnd, error) {
	var end JournalEnd
	reply, err := c.Control(ctx, JournalEndRequest, nil)
	if err == nil {
		err = ssh.Unmarshal(reply, &end)
	}
	if err != nil {
		return end, fmt.Errorf("end the journal's stream: %w", err)
	}
	end.Cause = tail.Printable(end.Cause)
	return end, nil
}
