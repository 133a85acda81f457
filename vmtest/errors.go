package vmtest

import (
	"errors"
	"syscall"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// ErrStateUnreachable is in the error of a wait for a unit that cannot reach the state by
// itself; see MachineUnit.Wait. A test of what must not start uses it with errors.Is.
var ErrStateUnreachable = systemd.ErrStateUnreachable

// ExitError reports that a command in the guest did not exit with 0.
type ExitError struct {
	ExitCode   int    // -1 if a signal ended the command
	Signal     string // the signal's name without SIG, such as "KILL", or ""
	CoreDumped bool   // with Signal only
}

// Error returns how the command ended, such as "exit status 3" or "signal KILL".
func (e *ExitError) Error() string { return (*link.ExitError)(e).Error() }

// StartError reports that a command in the guest could not be started: there is no such
// program, working directory or user, or the program may not be executed. errors.Is finds
// fs.ErrNotExist, fs.ErrPermission and the system's error numbers in it.
type StartError struct {
	Name    string        // the program, the first of Command.Args
	Message string        // the error's text in the guest
	Errno   syscall.Errno // 0 if no system call failed
}

// Error returns the program and why it could not be started, safe to print.
func (e *StartError) Error() string { return (*link.StartError)(e).Error() }

// Unwrap returns Errno if there is one.
func (e *StartError) Unwrap() error { return (*link.StartError)(e).Unwrap() }

// UnitNameError reports that a text is not the full name of a unit, so that no unit has it
// (systemd.unit(5)).
type UnitNameError struct {
	Name string
	Err  error // why not
}

// Error returns the name and what is wrong with it, safe to print.
func (e *UnitNameError) Error() string { return tail.Printable(e.Err.Error()) }

// Unwrap returns Err.
func (e *UnitNameError) Unwrap() error { return e.Err }

// HostError reports what this host lacks, such as QEMU or room on its disk. Cause and
// Cure are a line each. Check is the line of "vmtest doctor" about it, Tail the last output
// of the tool that failed, and Err the error behind it; these may be empty.
type HostError = host.Error

// GuestError reports that a guest did not come up, has gone, or that its agent does not
// answer. If the agent answers and systemd does not, a call that times out is no
// GuestError, because the guest still runs commands and yields evidence. Its error says
// which of the two answered.
//
// If this host ended the machine by Close, Kill or Snapshot, Err names the method, there is
// no evidence, and the error is a net.ErrClosed to errors.Is. So is the error of a call that
// Reboot or SoftReboot ended, which is no GuestError.
//
// The text of Err claims a cause only if QEMU reports it, or if the console shows it before
// the image's own programs run. A unit can write anything to the console, so later text is
// quoted as what the console shows.
type GuestError struct {
	Image   string
	Doing   string   // the call, such as "boot"
	Err     error    // why it failed
	Console []string // the last lines on the serial console
	Stderr  string   // the end of what QEMU printed
}

// Error returns the cause on the first line and the evidence on those below it.
func (e *GuestError) Error() string { return (*vm.GuestError)(e).Error() }

// Unwrap returns the cause.
func (e *GuestError) Unwrap() error { return e.Err }

// public returns err so that errors.As finds in it this package's errors for the internal
// ones: *GuestError, *ExitError, *StartError, *PropertyError, *UnitNameError.
func public(err error) error {
	var known []error
	if e, ok := errors.AsType[*vm.GuestError](err); ok {
		known = append(known, (*GuestError)(e))
	}
	if e, ok := errors.AsType[*link.ExitError](err); ok {
		known = append(known, (*ExitError)(e))
	}
	if e, ok := errors.AsType[*link.StartError](err); ok {
		known = append(known, (*StartError)(e))
	}
	if e, ok := errors.AsType[*systemd.PropertyError](err); ok {
		known = append(known, (*PropertyError)(e))
	}
	if e, ok := errors.AsType[*systemd.NameError](err); ok {
		known = append(known, &UnitNameError{e.Name, e})
	}
	if known == nil || errors.As(err, new(*publicError)) {
		return err
	}
	return &publicError{err, known}
}

// publicError has the text of an internal error, and also is the public errors for it.
type publicError struct {
	error
	public []error
}

func (e *publicError) Unwrap() []error { return append(e.public, e.error) }

// isExit reports whether err is about how a command ended, and not about the guest.
func isExit(err error) bool {
	return errors.As(err, new(*ExitError))
}
