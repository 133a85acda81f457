package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
)

// NamespaceCure is what a person can do for a user without user namespaces.
const NamespaceCure = "give the user a range in /etc/subuid and /etc/subgid (usermod --add-subuids 100000-165535 " +
	"--add-subgids 100000-165535 USER), allow user namespaces, or build as root"

// CheckNamespaces tries what an ordinary user needs to build images: a user namespace
// with subordinate ids. It runs mmdebstrap. Its error is an *Error, or that of ctx.
func CheckNamespaces(ctx context.Context) error {
	if os.Geteuid() == 0 {
		return nil
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--unshare-helper", "true")
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &exit):
		return fmt.Errorf("try user namespaces: %w", err)
	}
	cause := strings.TrimSpace(tail.Printable(string(out)))
	cause = cause[strings.LastIndexByte(cause, '\n')+1:]
	cure := NamespaceCure
	for file, bad := range map[string]string{
		"/proc/sys/kernel/unprivileged_userns_clone":             "0",
		"/proc/sys/user/max_user_namespaces":                     "0",
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
	} {
		b, err := os.ReadFile(file)
		if err == nil && strings.TrimSpace(string(b)) == bad {
			key := strings.ReplaceAll(strings.TrimPrefix(file, "/proc/sys/"), "/", ".")
			cure = "the sysctl " + key + " is " + bad + ": allow user namespaces there, or build as root"
		}
	}
	return &Error{Cause: "no user namespaces for this user: " + cause, Cure: cure, Tail: string(out), Err: err}
}
