package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// leftoverWait bounds the wait for output after a command has ended, if a process that
// it left behind holds its pipes. Tests change it.
var leftoverWait = time.Second

// baseEnv returns the environment that the client's entries are added to. The last
// directory of PATH is that of NixOS's programs.
func baseEnv(t *terminal) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin",
		"HOME=/root",
		"LANG=C.UTF-8",
	}
	if t != nil {
		return append(env, "TERM="+t.name)
	}
	// systemd 247 colours its stderr without a terminal too.
	return append(env, "TERM=dumb", "SYSTEMD_COLORS=0")
}

// command is a process with our ends of its pipes. A pipe is nil if the stream goes to
// /dev/null. A command never inherits the link's own descriptor, because two users of
// a serial port can lose each other's wake-ups
// (https://github.com/lmb/vimto/issues/29).
type command struct {
	*process
	stdin, stdout, stderr *os.File
}

// startCommand starts argv in a session of its own, with the terminal t unless that is
// nil. Its error wraps the operating system's if a system call failed.
func startCommand(argv wire.Argv, env []string, t *terminal) (*command, error) {
	cmd, err := newCommand(argv, baseEnv(t), env)
	if err != nil {
		return nil, err
	}
	if err := checkDir(cmd.Dir); err != nil {
		return nil, err
	}
	if cmd.Path, err = lookPath(cmd.Args[0], cmd.Environ()); err != nil {
		return nil, err
	}
	if t != nil {
		return t.launch(cmd)
	}
	return launch(cmd, argv)
}

// newCommand returns the command of argv without its path. Its environment is base, the
// user's, env and argv's. A later entry replaces an earlier one.
func newCommand(argv wire.Argv, base, env []string) (*exec.Cmd, error) {
	args, err := wire.Unpack(argv.Args)
	if err != nil {
		return nil, fmt.Errorf("read arguments: %w", err)
	}
	if len(args) == 0 {
		return nil, errors.New("no command given")
	}
	more, err := wire.Unpack(argv.Env)
	if err != nil {
		return nil, fmt.Errorf("read environment: %w", err)
	}
	cmd := &exec.Cmd{
		Args:        args,
		Dir:         argv.Dir,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	var user []string
	if argv.User != "" {
		if user, err = setUser(cmd, argv.User); err != nil {
			return nil, err
		}
	}
	cmd.Env = slices.Concat(base, user, env, more)
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	return cmd, nil
}

// checkDir returns an error that names a bad directory. os.StartProcess reports it as
// a missing program.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return &fs.PathError{Op: "chdir", Path: dir, Err: errors.Unwrap(err)}
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "chdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return nil
}

// lookPath finds name in the PATH of the command's environment, not of the agent's.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	var list string
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			list = value
		}
	}
	failure := error(syscall.ENOENT)
	for _, dir := range filepath.SplitList(list) {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			continue
		}
		if err := unix.Access(path, unix.X_OK); err != nil {
			failure = err
			continue
		}
		return path, nil
	}
	return "", fmt.Errorf("find in PATH=%s: %w", list, failure)
}

// launch connects the streams that argv selects and starts the process.
func launch(cmd *exec.Cmd, argv wire.Argv) (_ *command, err error) {
	c := &command{}
	var theirs []*os.File
	defer func() {
		for _, file := range theirs {
			file.Close()
		}
		if err != nil {
			c.closePipes()
		}
	}()
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	if argv.Stdin {
		var r *os.File
		if r, c.stdin = pipe(); err == nil {
			theirs, cmd.Stdin = append(theirs, r), r
		}
	}
	if argv.Stdout || argv.Merge {
		var w *os.File
		if c.stdout, w = pipe(); err == nil {
			theirs, cmd.Stdout = append(theirs, w), w
		}
	}
	if argv.Merge {
		cmd.Stderr = cmd.Stdout
	} else if argv.Stderr {
		var w *os.File
		if c.stderr, w = pipe(); err == nil {
			theirs, cmd.Stderr = append(theirs, w), w
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	if err := give(cmd, theirs); err != nil {
		return nil, err
	}
	if c.process, err = startProcess(cmd); err != nil {
		return nil, userError(cmd, err)
	}
	return c, nil
}

func (c *command) closePipes() {
	for _, file := range []*os.File{c.stdin, c.stdout, c.stderr} {
		if file != nil {
			file.Close()
		}
	}
}

// feed copies the channel's data to standard input until the client's end of data, and
// closes it. The copy also stops if the command closes its end.
func (c *command) feed(ch ssh.Channel) {
	if c.stdin == nil {
		return
	}
	_, _ = io.CopyBuffer(struct{ io.Writer }{c.stdin}, ch, make([]byte, wire.MaxData))
	c.stdin.Close()
}

// run copies the output and waits for the command. It returns when all that the
// command wrote has been copied. It copies output of processes that were left behind
// until they close the pipes, but at most for leftoverWait.
func (c *command) run(ch ssh.Channel) syscall.WaitStatus {
	var pumps sync.WaitGroup
	if c.stdout != nil {
		pumps.Go(func() { pump(ch, c.stdout) })
	}
	if c.stderr != nil {
		pumps.Go(func() { pump(ch.Stderr(), c.stderr) })
	}
	status := c.wait()
	if c.stdin != nil {
		c.stdin.Close() // ends a write that a process left behind would block
	}
	for _, file := range []*os.File{c.stdout, c.stderr} {
		if file != nil {
			// It fails only if the pump has closed the file.
			_ = file.SetReadDeadline(time.Now().Add(leftoverWait))
		}
	}
	pumps.Wait()
	return status
}

// pump copies src to dst and closes src. At src's deadline it still copies what is in
// the pipe, because the command may have written that before it ended.
func pump(dst io.Writer, src *os.File) {
	defer src.Close()
	buf := make([]byte, wire.MaxData)
	// With the wrapper io.CopyBuffer uses our buffer. os.File's own WriteTo would
	// make another.
	_, err := io.CopyBuffer(dst, struct{ io.Reader }{src}, buf)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	if src.SetReadDeadline(time.Time{}) != nil {
		return
	}
	rest := io.LimitReader(src, int64(buffered(src)))
	_, _ = io.CopyBuffer(dst, rest, buf)
}

// buffered returns the number of bytes in a pipe.
func buffered(file *os.File) int {
	conn, err := file.SyscallConn()
	if err != nil {
		return 0
	}
	var n int
	err = conn.Control(func(fd uintptr) {
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) // FIONREAD, see pipe(7)
	})
	if err != nil {
		return 0
	}
	return n
}
