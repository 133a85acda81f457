package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// copyBuffer is an SSH channel's largest packet in bytes.
const copyBuffer = 32 << 10

// Command is what Exec runs in the guest, as root.
type Command struct {
	// Args is the program and its arguments, exact bytes, without a shell. A
	// program without a slash is looked for in the PATH of the guest.
	Args []string

	// Env is added to the guest's PATH, HOME=/root, LANG=C.UTF-8, TERM=dumb
	// and SYSTEMD_COLORS=0; the last entry of a name wins.
	Env []string

	// Dir is the working directory, / by default.
	Dir string

	// Stdin is copied to the command and its end passed on; nil is /dev/null.
	Stdin io.Reader

	// Stdout and Stderr get the output byte for byte; nil is /dev/null. If
	// both are the same writer, the order of the two streams is kept and one
	// Write happens at a time. Otherwise each is called from its own
	// goroutine.
	Stdout, Stderr io.Writer

	// Elapsed, when not nil, is set to how long the command ran by the guest's
	// clock, once its end is known.
	Elapsed *time.Duration
}

// Exec runs a command to its end and hands over all that it wrote. It returns
// nil for exit status 0, an *ExitError for any other end, a *StartError if the
// command did not start. When ctx ends, the command and all processes of its
// session are killed and the error wraps ctx's; a guest that does not answer
// delays that by at most a few seconds.
//
// Output of processes that a command leaves behind is taken until they close
// it, for at most a second after the command's own end; they live on until the
// link ends. Exec waits neither for them nor for Stdin: a Read in progress when
// the command ends is abandoned, and what it returns later is lost. A Writer
// that fails ends its stream for the command as a closed pipe would (SIGPIPE),
// and the failure is returned. After Exec has returned the writers are not
// called again; only a Write that blocks while ctx ends can be outlived.
func (c *Client) Exec(ctx context.Context, cmd Command) error {
	x, err := newExecution(c, cmd)
	if err != nil {
		return err
	}
	ch, requests, err := c.open(ctx, "session", nil)
	if err != nil {
		return fmt.Errorf("run %s: %w", cmd.Args[0], err)
	}
	x.ch = ch
	result := make(chan error, 1)
	go func() { result <- x.run(requests) }()

	select {
	case err := <-result:
		x.tellElapsed(cmd)
		return err
	case <-ctx.Done():
	}
	// Everything sent from here on may block when the guest no longer reads.
	go func() {
		_, _ = ch.SendRequest("signal", false, ssh.Marshal(wire.Signal{Name: "KILL"}))
	}()
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case err := <-result:
		x.tellElapsed(cmd)
		if err == nil {
			return nil // it was through before the signal came
		}
	case <-timer.C:
		go ch.Close()
	}
	x.shut()
	return fmt.Errorf("run %s: %w", cmd.Args[0], ended(ctx))
}

// execution is one command under way.
type execution struct {
	client         *Client
	name           string
	request        []byte
	ch             ssh.Channel
	stdin          io.Reader
	stdout, stderr *gate
	elapsed        time.Duration // as the agent told, once run has returned

	mu       sync.Mutex
	writeErr error // first failure of a caller's writer
}

func newExecution(c *Client, cmd Command) (*execution, error) {
	if len(cmd.Args) == 0 {
		return nil, errors.New("run command: no arguments given")
	}
	x := &execution{client: c, name: cmd.Args[0], stdin: cmd.Stdin}
	argv := wire.Argv{
		Args:   wire.Pack(cmd.Args),
		Env:    wire.Pack(cmd.Env),
		Dir:    cmd.Dir,
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

// tellElapsed is for when run has returned.
func (x *execution) tellElapsed(cmd Command) {
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

// run returns when the channel has been closed and all output is written.
func (x *execution) run(requests <-chan *ssh.Request) error {
	if _, err := x.ch.SendRequest(wire.ArgvRequest, false, x.request); err != nil {
		go ssh.DiscardRequests(requests)
		return fmt.Errorf("run %s: %w", x.name, x.client.lost(err))
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
	end, err := x.await(requests)
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

// await reads how the command ended: end is its *ExitError or *StartError, err
// that no end is known.
func (x *execution) await(requests <-chan *ssh.Request) (end, err error) {
	known := false
	for req := range requests {
		switch req.Type {
		case wire.ElapsedRequest:
			var elapsed wire.Elapsed
			if err = ssh.Unmarshal(req.Payload, &elapsed); err == nil {
				x.elapsed = time.Duration(elapsed.Nanoseconds)
			}
		case "exit-status":
			var status wire.ExitStatus
			err = ssh.Unmarshal(req.Payload, &status)
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
	return nil, fmt.Errorf("run %s: %w", x.name, err)
}

// feed copies Stdin and returns its failure, not the command's refusal to read.
func (x *execution) feed() error {
	in := &noted{Reader: x.stdin}
	_, _ = io.CopyBuffer(x.ch, in, make([]byte, copyBuffer))
	_ = x.ch.CloseWrite()
	if in.err != nil && in.err != io.EOF {
		return fmt.Errorf("read stdin of %s: %w", x.name, in.err)
	}
	return nil
}

// noted remembers its reader's error, which io.Copy mixes with the writer's.
type noted struct {
	io.Reader
	err error
}

func (n *noted) Read(p []byte) (int, error) {
	read, err := n.Reader.Read(p)
	n.err = err
	return read, err
}

// pump copies until the channel's end, even past a failure to write: data left
// in the channel would hold up its other stream.
func (x *execution) pump(stream string, dst *gate, src io.Reader) {
	buf := make([]byte, copyBuffer)
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
