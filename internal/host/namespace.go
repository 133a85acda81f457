package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.org/systemd-vmtest/internal/tail"
)

// NamespaceCure is what a person can do for a user without user namespaces.
const NamespaceCure = "give the user a range in /etc/subuid and /etc/subgid (usermod --add-subuids 100000-165535 " +
	"--add-subgids 100000-165535 USER), allow user namespaces, or build as root"

// CheckNamespaces tries what an ordinary user needs to build images: a user namespace
// with subordinate ids. It runs mmdebstrap. Its error is an *Error if the user
// lacks them, or that of ctx.
func CheckNamespaces(ctx context.Context) error {
	if os.Geteuid() == 0 {
		return nil
	}
	out, err := RunUnshared(ctx, "true")
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &exit):
		return fmt.Errorf("try user namespaces: %w", err)
	}
	return explainNamespaces(string(out), err, os.ReadFile)
}

// outputGrace is how long a killed helper's output may stay open. A process that has left
// its process group can hold it.
const outputGrace = 5 * time.Second

// RunUnshared runs a command as root of a user namespace with the user's subordinate
// ids, through mmdebstrap, and returns its output. All its processes end with ctx.
func RunUnshared(ctx context.Context, command ...string) (output []byte, err error) {
	cmd := exec.CommandContext(ctx, "mmdebstrap", append([]string{"--unshare-helper"}, command...)...)
	cmd.Dir = "/" // the user ids may not enter the caller's directory
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputGrace
	return cmd.CombinedOutput()
}

// aboutNamespaces matches the output of a tool that lacks user namespaces.
var aboutNamespaces = regexp.MustCompile(`newuidmap|newgidmap|unshare|subuid|subgid|user namespace`)

// explainNamespaces returns the error for the output of a tool that failed with err. It
// is an *Error only if the host's files or the output show that user namespaces lack.
func explainNamespaces(output string, err error, readFile func(string) ([]byte, error)) error {
	cause := strings.TrimSpace(tail.Printable(output))
	cause = cause[strings.LastIndexByte(cause, '\n')+1:]
	if cause == "" {
		cause = err.Error()
	}
	lacking := &Error{Cause: "no user namespaces for this user: " + cause, Cure: NamespaceCure, Check: Namespaces, Tail: output, Err: err}
	for _, setting := range []struct{ key, bad string }{
		{"kernel.unprivileged_userns_clone", "0"},
		{"user.max_user_namespaces", "0"},
		{"kernel.apparmor_restrict_unprivileged_userns", "1"},
	} {
		b, errRead := readFile("/proc/sys/" + strings.ReplaceAll(setting.key, ".", "/"))
		if errRead == nil && strings.TrimSpace(string(b)) == setting.bad {
			lacking.Cure = "the sysctl " + setting.key + " is " + setting.bad + ": allow user namespaces there, or build as root"
			return lacking
		}
	}
	if aboutNamespaces.MatchString(output) || !hasRange("/etc/subuid", readFile) || !hasRange("/etc/subgid", readFile) {
		return lacking
	}
	return fmt.Errorf("try user namespaces: run mmdebstrap: %w:\n%s", err, strings.TrimSpace(tail.Printable(output)))
}

// hasRange reports whether a file in the form of subuid(5) has a range for this user.
func hasRange(file string, readFile func(string) ([]byte, error)) bool {
	b, err := readFile(file)
	if err != nil {
		return false
	}
	id := strconv.Itoa(os.Geteuid())
	name := id
	if u, err := user.LookupId(id); err == nil {
		name = u.Username
	}
	for line := range bytes.Lines(b) {
		owner, _, _ := strings.Cut(string(line), ":")
		if owner == id || owner == name {
			return true
		}
	}
	return false
}
