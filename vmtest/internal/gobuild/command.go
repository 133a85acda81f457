package gobuild

import (
	"bytes"
	"cmp"
	"context"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// outputGrace is how long a killed go command's output may stay open. A process that has
// left its process group can hold it.
const outputGrace = 5 * time.Second

// commandError reports that the go command failed.
type commandError struct {
	err    error
	output string // its standard error, or its standard output if that is empty
}

func (e *commandError) Error() string {
	if text := strings.TrimSpace(e.output); text != "" {
		return e.err.Error() + ":\n" + text
	}
	return e.err.Error()
}

func (e *commandError) Unwrap() error { return e.err }

// goCommand runs the go command and returns its standard output. The command and its
// children end with ctx, and with this process. The error is a *commandError.
func goCommand(ctx context.Context, env []string, args ...string) (stdout []byte, err error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = env
	// The kernel sends the signal when the thread that forked ends (prctl(2),
	// PR_SET_PDEATHSIG), so keep that thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputGrace
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, &commandError{err, cmp.Or(errOut.String(), out.String())}
	}
	return out.Bytes(), nil
}
