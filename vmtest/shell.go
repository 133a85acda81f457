package vmtest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/terminal"
)

// ErrShellLeft is in the error of a Shell that the person left by "~." instead of ending its
// command.
var ErrShellLeft = terminal.ErrLeft

// Shell runs a command in the guest with the terminal of this process, /dev/tty: with its
// size, job control, Ctrl-C and full-screen programs. Without Args it is a login shell, bash
// where the guest has it. Env, Dir and User are as for Exec; the streams of c are not used.
// "~." at the beginning of a line ends the command, as in ssh(1), which helps if the guest hangs.
// Until the command ends, other processes of this user can attach to the machine, by "vmtest
// shell --attach" and ssh(1); see the package's documentation.
//
// All that the guest writes goes to the terminal as it is, control sequences too, so a guest
// that is not trusted can do there what such sequences can do. Nothing but ctx and the test
// binary's own deadline bounds the command. A process without a terminal is an error.
func (m *Machine) Shell(ctx context.Context, c Command) (Result, error) {
	return m.shell(ctx, c, "shell")
}

// shell is Shell, and holds the machine by a name meanwhile.
func (m *Machine) shell(ctx context.Context, c Command, name string) (_ Result, err error) {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	tty, err := terminal.Open("/dev/tty", leave)
	if err != nil {
		return Result{ExitCode: -1}, fmt.Errorf("shell: %w", err)
	}
	defer func() { err = errors.Join(err, tty.Close()) }()
	if len(c.Args) == 0 {
		c.Args = terminal.LoginShell
	}
	if holder, err := m.hold(name, nil); err != nil {
		m.config.notice(fmt.Sprintf("no other process can attach to this machine: %v", err))
	} else {
		defer holder.Close()
	}
	c.Stdin, c.Stdout, c.Stderr, c.terminal = tty, tty, nil, &tty.Terminal
	return m.Exec(ctx, c)
}

// Shell stops the test here and opens a login shell in the guest on the terminal from which
// go test was started, as Machine.Shell. The test goes on when the shell ends, however it
// does. The test binary's deadline, ten minutes unless -timeout=0 or another is given, ends it
// too.
func (g *Guest) Shell(t testing.TB) {
	t.Helper()
	t.Logf("the test stopped for a shell in the guest")
	g.bounded(t, deadline.Limit{}, func(ctx context.Context) error {
		_, err := g.Machine.shell(ctx, Command{}, t.Name())
		if errors.Is(err, ErrShellLeft) {
			return nil
		}
		return err
	})
}
