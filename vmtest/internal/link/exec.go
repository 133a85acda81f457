package link

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// Command is a command for Exec.
type Command struct {
	// Args is the program and its arguments, as exact bytes and without a shell. A
	// program without a slash is searched for in the guest's PATH.
	Args []string

	// Env is added to the guest's PATH, HOME=/root, LANG=C.UTF-8, TERM=dumb
	// and SYSTEMD_COLORS=0. The last entry of a name is used.
	Env []string

	// User is the name or the UID of a user in the guest's /etc/passwd, which also sets
	// HOME, USER, LOGNAME and SHELL. "" is root.
	User string

	// Dir is the working directory; "" is User's home directory if there is one, or /.
	Dir string

	// Stdin is copied to the command's standard input; nil is /dev/null.
	Stdin io.Reader

	// Stdout and Stderr get the command's output; nil is /dev/null. If both are
	// the same writer, the streams' order is kept and one Write happens at a time.
	// Otherwise each is called from its own goroutine.
	Stdout, Stderr io.Writer

	// Terminal, if not nil, gives the command a terminal of the guest instead of pipes.
	// All its output goes to Stdout, and TERM is the terminal's type.
	Terminal *Terminal

	// Elapsed, if not nil, is set to how long the command ran by the guest's clock,
	// when its end is known.
	Elapsed *time.Duration
}

// Exec runs a command to its end and copies all its output. It returns nil for exit
// status 0, an *ExitError for any other end, and a *StartError if the command did not
// start. When ctx ends, the command and all processes of its session are killed, and
// the error wraps ctx's. If the guest does not answer, Exec returns after at most a
// few seconds more. The error does not name the command.
//
// Processes that a command leaves behind run on until the link ends. Their output is
// copied for at most a second after the command's own end. Exec does not wait for
// them, nor for Stdin: if a Read is in progress when the command ends, its data is
// lost. If a Writer fails, its stream ends for the command as a closed pipe does
// (SIGPIPE), and Exec returns the failure. The writers are not called after Exec has
// returned, but a Write that blocks when ctx ends can go on after that.
func (c *Client) Exec(ctx context.Context, cmd Command) error {
	x, err := newExecution(c, cmd)
	if err != nil {
		return err
	}
	ch, requests, err := c.open(ctx, "session", nil)
	if err != nil {
		return err
	}
	x.ch = ch
	result := make(chan error, 1)
	go func() { result <- x.run(requests) }()

	select {
	case err := <-result:
		x.setElapsed(cmd)
		return err
	case <-ctx.Done():
	}
	// All that is sent from here on can block, because the guest may not read.
	go func() {
		_, _ = ch.SendRequest("signal", false, ssh.Marshal(wire.Signal{Name: "KILL"}))
	}()
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case err := <-result:
		x.setElapsed(cmd)
		if err == nil {
			return nil // it ended before the signal came
		}
	case <-timer.C:
		go ch.Close()
	}
	x.shut()
	return ended(ctx)
}

// execution is a command that runs.
type execution struct {
	client         *Client
	name           string
	request        []byte
	ch             ssh.Channel
	stdin          io.Reader
	stdout, stderr *gate
	terminal       *Terminal
	elapsed        time.Duration // from the agent; set when run has returned

	mu       sync.Mutex
	writeErr error // the first error of a caller's writer
}

func newExecution(c *Client, cmd Command) (*execution, error) {
	if len(cmd.Args) == 0 {
		return nil, errors.New("run command: no arguments given")
	}
	x := &execution{client: c, name: cmd.Args[0], stdin: cmd.Stdin, terminal: cmd.Terminal}
	argv := wire.Argv{
		Args:   wire.Pack(cmd.Args),
		Env:    wire.Pack(cmd.Env),
		Dir:    cmd.Dir,
		User:   cmd.User,
		Stdin:  cmd.Stdin != nil,
		Stdout: cmd.Stdout != nil,
		Stderr: cmd.Stderr != nil,
		Merge:  same(cmd.Stdout, cmd.Stderr),
	}
	if cmd.Stdout != nil {
		x.stdout = newGate(cmd.Stdout)
	}
	if cmd.Stderr != nil && !argv.Merge {
		x.stderr = newGate(cmd.Stderr)
	}
	x.request = ssh.Marshal(argv)
	if len(x.request) > wire.MaxPayload {
		return nil, &StartError{Name: x.name, Message: syscall.E2BIG.Error(), Errno: syscall.E2BIG}
	}
	return x, nil
}

// setElapsed sets cmd.Elapsed after run has returned.
func (x *execution) setElapsed(cmd Command) {
	if cmd.Elapsed != nil {
		*cmd.Elapsed = x.elapsed
	}
}

// shut ends the use of the caller's writers.
func (x *execution) shut() {
	for _, g := range []*gate{x.stdout, x.stderr} {
		if g != nil {
			g.shut(killWait)
		}
	}
}

// run returns when the channel is closed and all output is written.
func (x *execution) run(requests <-chan *ssh.Request) error {
	if x.terminal != nil {
		if err := x.terminal.request(x.ch); err != nil {
			go ssh.DiscardRequests(requests)
			x.ch.Close()
			return cmp.Or(x.client.Err(), err)
		}
	}
	if _, err := x.ch.SendRequest(wire.ArgvRequest, false, x.request); err != nil {
		go ssh.DiscardRequests(requests)
		return x.client.lost(err)
	}
	stdinErr := make(chan error, 1)
	if x.stdin != nil {
		go func() { stdinErr <- x.feed() }()
	}
	var pumps sync.WaitGroup
	if x.stdout != nil {
		pumps.Go(func() { x.pump("stdout", x.stdout, x.ch) })
	}
	if x.stderr != nil {
		pumps.Go(func() { x.pump("stderr", x.stderr, x.ch.Stderr()) })
	}
	done := make(chan struct{})
	if x.terminal != nil {
		pumps.Go(func() { x.terminal.follow(x.ch, done) })
	}
	end, err := x.await(requests)
	close(done)
	pumps.Wait()

	x.mu.Lock()
	writeErr := x.writeErr
	x.mu.Unlock()
	switch {
	case err != nil:
		return err
	case writeErr != nil:
		return writeErr
	case end != nil:
		return end
	}
	select {
	case err := <-stdinErr:
		return err
	default:
		return nil
	}
}

// maxExitStatus is the highest exit status that a process can have (wait(2)).
const maxExitStatus = 255

// await reads how the command ended. end is its *ExitError or *StartError, or nil for exit
// status 0. err is set if the agent did not report the end.
func (x *execution) await(requests <-chan *ssh.Request) (end, err error) {
	known := false
	for req := range requests {
		switch req.Type {
		case wire.ElapsedRequest:
			var elapsed wire.Elapsed
			if err = ssh.Unmarshal(req.Payload, &elapsed); err == nil {
				x.elapsed = time.Duration(min(elapsed.Nanoseconds, math.MaxInt64))
			}
		case "exit-status":
			var status wire.ExitStatus
			err = ssh.Unmarshal(req.Payload, &status)
			if err == nil && status.Status > maxExitStatus {
				// A program that exits with its low byte would report success.
				err = fmt.Errorf("the agent sent exit status %d", status.Status)
			}
			if known = err == nil; known && status.Status != 0 {
				end = &ExitError{ExitCode: int(status.Status)}
			}
		case "exit-signal":
			var signal wire.ExitSignal
			err = ssh.Unmarshal(req.Payload, &signal)
			known = err == nil
			end = &ExitError{ExitCode: -1, Signal: wire.BareSignal(signal.Signal), CoreDumped: signal.CoreDumped}
		case wire.StartErrorRequest:
			var failure wire.StartError
			err = json.Unmarshal(req.Payload, &failure)
			known = err == nil
			end = &StartError{Name: x.name, Message: failure.Message, Errno: syscall.Errno(failure.Errno)}
		}
		_ = req.Reply(false, nil)
	}
	if known {
		return end, nil
	}
	if err == nil {
		err = x.client.lost(errors.New("the agent closed the channel without an exit status"))
	}
	return nil, err
}

// feed copies Stdin and returns its error. It is no error if the command reads less.
func (x *execution) feed() error {
	in := &noted{Reader: x.stdin}
	_, _ = io.CopyBuffer(x.ch, in, make([]byte, wire.MaxData))
	_ = x.ch.CloseWrite()
	if in.err != nil && in.err != io.EOF {
		return fmt.Errorf("read stdin of %s: %w", x.name, in.err)
	}
	return nil
}

// noted keeps its reader's error apart from the writer's, which io.Copy returns too.
type noted struct {
	io.Reader
	err error
}

func (n *noted) Read(p []byte) (int, error) {
	read, err := n.Reader.Read(p)
	n.err = err
	return read, err
}

// pump copies until the channel's end, even after an error of the writer: data left in
// the channel would block its other stream.
func (x *execution) pump(stream string, dst *gate, src io.Reader) {
	buf := make([]byte, wire.MaxData)
	_, err := io.CopyBuffer(dst, src, buf)
	if err == nil {
		return
	}
	x.mu.Lock()
	if x.writeErr == nil {
		x.writeErr = fmt.Errorf("write %s of %s: %w", stream, x.name, err)
	}
	x.mu.Unlock()
	_, _ = x.ch.SendRequest("signal", false, ssh.Marshal(wire.Signal{Name: "PIPE"}))
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, src, buf)
}
