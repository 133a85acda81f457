package vmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// Command is a program to run in the guest, without a shell. Its fields are those of
// exec.Cmd where they have the same name.
type Command struct {
	Args  []string // the program, looked up in the guest's PATH, and its arguments
	Env   []string // as NAME=value; added to PATH, HOME, LANG, TERM and SYSTEMD_COLORS
	Dir   string   // working directory; "" is User's home directory, or / without a User
	Stdin io.Reader

	// User is the name or the UID of the user that the command runs as, with that user's
	// groups, HOME, USER, LOGNAME and SHELL. "" is root. The user must be in the guest's
	// /etc/passwd, where users of DynamicUser= and of a directory service are not.
	User string

	// Stdout and Stderr get what the command writes, as it comes. If one is nil, the
	// Result keeps the output instead, up to 16 MiB.
	Stdout, Stderr io.Writer

	terminal *link.Terminal // see Shell; nil is none
}

// String returns the command as a person would type it.
func (c Command) String() string {
	words := make([]string, len(c.Args))
	for i, a := range c.Args {
		words[i] = shellQuote(a)
	}
	return strings.Join(words, " ")
}

// shellQuote quotes a word for people to read, if it needs that.
func shellQuote(word string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Result is how a command ended and what it wrote.
type Result struct {
	Stdout, Stderr []byte        // the bytes as they came; not necessarily text
	ExitCode       int           // -1 if a signal ended the command, or no end is known
	Signal         string        // the signal's name without SIG, such as "KILL", or ""
	Duration       time.Duration // how long it ran, by the guest's clock; 0 if not known
	Dropped        int           // how many bytes of output were not kept

	err error // see Err
}

// Err returns nil if the command exited with 0. Otherwise it returns an error that wraps
// an *[ExitError] and has the end of the command's standard error, or the error of Exec.
func (r Result) Err() error { return r.err }

// outputKept bounds what a Result keeps of each stream, in bytes.
const outputKept = 16 << 20

// Run runs a command in the guest to its end and returns its standard output. It is for a
// command that must exit with 0; the error of any other end wraps an *[ExitError], and
// that of a command that cannot be started is a *[StartError].
func (m *Machine) Run(ctx context.Context, args ...string) (string, error) {
	r, err := m.run(ctx, Command{Args: args})
	if err == nil && r.Dropped > 0 {
		err = fmt.Errorf("run %s: more than %d MiB of output; use Exec with Stdout", Command{Args: args}, outputKept>>20)
	}
	return string(r.Stdout), err
}

// Exec runs a command in the guest to its end, whichever that is, and returns how it
// ended. A command that cannot be started is a *[StartError]. After any other error, such
// as that of a deadline or of a guest that has gone, no end of the command is known, and
// the Result has what it wrote until then. When ctx ends, the command and what it started
// are killed.
func (m *Machine) Exec(ctx context.Context, c Command) (Result, error) {
	r, err := m.run(ctx, c)
	if r.err = err; isExit(err) {
		return r, nil
	}
	return r, err
}

// run is Exec that returns an *ExitError for a command that does not exit with 0.
func (m *Machine) run(ctx context.Context, c Command) (result Result, err error) {
	c = m.asMyself(c)
	startedAt, late := time.Now(), m.steps.Over()
	defer func() { m.stepOfCommand(startedAt, late, c, result, err) }()
	var stdout, stderr capture
	var elapsed time.Duration
	cmd := link.Command{Args: c.Args, Env: c.Env, Dir: c.Dir, User: c.User, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, Terminal: c.terminal, Elapsed: &elapsed}
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	began := m.vm.Mark()
	err = m.vm.Exec(ctx, cmd)
	result = Result{Stdout: stdout.data, Stderr: stderr.data, ExitCode: -1, Duration: elapsed, Dropped: stdout.more + stderr.more}
	var exit *link.ExitError
	var start *link.StartError
	switch {
	case err == nil:
		result.ExitCode = 0
		return result, nil
	case errors.As(err, &start):
		return result, (*StartError)(start) // it names the program
	case errors.As(err, &exit):
		result.ExitCode, result.Signal = exit.ExitCode, exit.Signal
		return result, fmt.Errorf("run %s: %w%s%s", c, (*ExitError)(exit), m.killer(ctx, (*ExitError)(exit), began), lastLines(result.Stderr))
	}
	return result, fmt.Errorf("run %s: %w", c, public(err))
}

// killer names the process that the kernel killed for lack of memory since began, if a
// command ended as a killed one does.
func (m *Machine) killer(ctx context.Context, end *ExitError, began vm.Mark) string {
	const killed = 128 + 9 // as shells report a child that was killed
	if end.Signal != "KILL" && end.ExitCode != killed {
		return ""
	}
	if victim := m.vm.OutOfMemory(ctx, began); victim != "" {
		return "; " + victim
	}
	return ""
}

// lastLines returns the end of a command's stderr for an error message.
func lastLines(stderr []byte) string {
	const most = 2 << 10
	text := bytes.TrimSpace(stderr)
	if len(text) == 0 {
		return ""
	}
	if len(text) > most {
		text = append([]byte("…"), text[len(text)-most:]...)
	}
	return "; stderr:\n" + tail.Printable(string(text))
}

// capture keeps the first outputKept bytes written to it and counts the rest.
type capture struct {
	data []byte
	more int
}

func (c *capture) Write(p []byte) (int, error) {
	n := min(len(p), outputKept-len(c.data))
	c.data = append(c.data, p[:n]...)
	c.more += len(p) - n
	return len(p), nil
}

// runTo runs a command that must exit with 0, and writes its standard output to stdout.
func (m *Machine) runTo(ctx context.Context, args []string, stdout io.Writer) error {
	_, err := m.run(ctx, Command{Args: args, Stdout: stdout})
	if err != nil && !isExit(err) && !errors.As(err, new(*StartError)) {
		err = errors.Unwrap(err) // without the command, which the caller did not choose
	}
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		return errors.Join(cause, err)
	}
	return err
}
