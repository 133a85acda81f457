package qmp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// command is a QMP command as in QEMU's docs/interop/qmp-spec.
type command struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
	ID        string `json:"id"` // QEMU repeats it in the answer
}

// reply is what go-qemu returned for a command.
type reply struct {
	out []byte
	err error
}

// ask sends a command when its turn comes, and returns the answer. It returns early
// if ctx ends; the turn passes on when the answer has come, however late.
func (c *Client) ask(ctx context.Context, cmd command, file *os.File) ([]byte, error) {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if ctx.Err() != nil { // select may choose either
		c.turn <- struct{}{}
		return nil, context.Cause(ctx)
	}
	file, err := duplicate(file)
	if err != nil {
		c.turn <- struct{}{}
		return nil, err
	}
	answered, abandoned := make(chan reply), make(chan struct{})
	go func() {
		defer func() { c.turn <- struct{}{} }()
		out, err := c.run(cmd, file)
		if file != nil {
			file.Close()
		}
		select {
		case answered <- reply{out, err}:
			return
		case <-abandoned:
		}
		if file != nil && err == nil {
			// The caller counts on the file not being in QEMU's hands. closefd has the
			// arguments of getfd. It fails only if QEMU has gone.
			c.run(command{Execute: "closefd", Arguments: cmd.Arguments}, nil)
		}
	}()
	select {
	case r := <-answered: // comes also when QEMU's side ends
		return r.out, r.err
	case <-ctx.Done():
		close(abandoned)
		return nil, context.Cause(ctx)
	}
}

// run sends a command and waits for its answer, or for the end of the session. The
// caller holds the turn.
func (c *Client) run(cmd command, file *os.File) ([]byte, error) {
	c.last++
	cmd.ID = strconv.FormatUint(c.last, 10)
	msg, err := json.Marshal(cmd)
	if err != nil {
		return nil, err
	}
	c.filter.expect(cmd.ID)
	out, err := c.monitor.RunWithFile(msg, file)
	// go-qemu reads the next answer into the same buffer.
	return bytes.Clone(out), c.explain(err)
}

// duplicate returns a descriptor of its own for a file, nil for nil. The caller of
// Execute may close the file as soon as Execute returns.
func duplicate(file *os.File) (*os.File, error) {
	if file == nil {
		return nil, nil
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("pass %s: %w", file.Name(), err)
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = os.NewSyscallError("dup", dupErr)
	}
	if err != nil {
		return nil, fmt.Errorf("pass %s: %w", file.Name(), err)
	}
	return os.NewFile(uintptr(fd), file.Name()), nil
}
