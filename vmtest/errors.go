package vmtest

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// ExitError says that a command in the guest ended with another status than 0 or by
// a signal.
type ExitError struct {
	Code       int    // exit status, -1 when a signal ended the command
	Signal     string // the signal's name without SIG, such as "KILL", or ""
	CoreDumped bool   // with Signal only
}

func (e *ExitError) Error() string { return (*link.ExitError)(e).Error() }

// StartError says that a command in the guest could not be started, with the guest's
// own reason: there is no such program or working directory, it may not be executed.
// errors.Is finds fs.ErrNotExist, fs.ErrPermission and the system's error numbers in
// it.
type StartError struct {
	Name    string        // of the program, as in Command.Args
	Message string        // the error's text in the guest
	Errno   syscall.Errno // 0 when no system call failed
}

func (e *StartError) Error() string { return (*link.StartError)(e).Error() }

func (e *StartError) Unwrap() error { return (*link.StartError)(e).Unwrap() }

// HostError says what this host lacks, such as QEMU or room on its disk: Cause and
// Cure are a line each, Tail is the last output of the tool that failed, and Err the
// error behind it; both may be empty.
type HostError = images.HostError

// GuestError says that a guest did not come up, is gone or no longer answers, with
// what it left behind as evidence.
type GuestError struct {
	Image   string
	Doing   string   // what was being done, e.g. "boot"
	Err     error    // why it ended
	Console []string // the last lines on the serial console
	Stderr  string   // the last that QEMU itself printed
}

// Error has the cause on the first line and the evidence on those below it.
func (e *GuestError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %v", e.Doing, e.Image, e.Err)
	if len(e.Console) == 0 {
		b.WriteString("\nthe guest printed nothing on its console")
	} else {
		fmt.Fprintf(&b, "\nthe guest's console, last %d lines:", len(e.Console))
		for _, line := range e.Console {
			b.WriteString("\n  | " + line)
		}
	}
	if e.Stderr != "" {
		b.WriteString("\nQEMU's stderr: " + e.Stderr)
	}
	return tail.Printable(b.String()) // the cause may be the guest's words
}

func (e *GuestError) Unwrap() error { return e.Err }

// hostError is err as a *HostError when the reason is that there is no QEMU, or no
// room on the disk.
func hostError(err error) error {
	var known *HostError
	var missing *qemu.MissingError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &missing):
		return &HostError{Cause: err.Error(), Cure: "install QEMU, as \"vmtest setup\" does", Err: err}
	}
	return images.NoSpace(err)
}

// asExit tells whether err is about how a command ended, and not about the guest.
func asExit(err error) bool {
	var exit *ExitError
	return errors.As(err, &exit)
}
