package link

import (
	"fmt"
	"strings"
	"syscall"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// ExitError is the error of a command that ran and did not exit with 0.
type ExitError struct {
	ExitCode   int    // exit status, or -1 if a signal ended the command
	Signal     string // its name without SIG ("KILL"), or ""
	CoreDumped bool   // only with Signal
}

func (e *ExitError) Error() string {
	switch {
	case e.Signal == "":
		return fmt.Sprintf("exit status %d", e.ExitCode)
	case e.CoreDumped:
		return "signal " + tail.Printable(e.Signal) + " (core dumped)"
	}
	return "signal " + tail.Printable(e.Signal)
}

// StartError is the error of a command that did not start: its program was not found
// or is not executable, its directory is bad, or there is no such user. errors.Is finds fs.ErrNotExist,
// fs.ErrPermission and the system's error numbers in it.
type StartError struct {
	Name    string        // first argument
	Message string        // the error's text in the guest
	Errno   syscall.Errno // 0 if no system call failed
}

func (e *StartError) Error() string {
	// Package os/exec begins with the operation and the program.
	return fmt.Sprintf("start %s: %s", e.Name, tail.Printable(strings.TrimPrefix(e.Message, "fork/exec "+e.Name+": ")))
}

// Unwrap returns Errno if there is one.
func (e *StartError) Unwrap() error { return errnoOrNil(e.Errno) }

// VersionError is the error of a handshake with an agent of another version of this module.
type VersionError struct {
	Theirs string // its identification string
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("the guest's agent is of another version of systemd-vmtest: it identifies itself as %s, and this program expects %s; "+
		"the go command builds the agent from the module in the current directory, unless VMTEST_AGENT names one: "+
		"use the vmtest command of the version that this module requires", tail.Printable(e.Theirs), wire.Version)
}

// guestError is the error of a system call in the guest, with the guest's text.
type guestError struct {
	message string
	errno   syscall.Errno
}

func (e *guestError) Error() string { return tail.Printable(e.message) }
func (e *guestError) Unwrap() error { return errnoOrNil(e.errno) }

func errnoOrNil(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
