package vmtest

import (
	"errors"
	"fmt"
	"strings"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

type (
	// ExitError says that a command in the guest ended with another status than 0
	// or by a signal.
	ExitError = link.ExitError

	// StartError says that a command in the guest could not be started, with the
	// guest's own reason.
	StartError = link.StartError

	// HostError says what this host lacks, such as QEMU or room on its disk, and the
	// cure.
	HostError = images.HostError
)

// GuestError says that a guest did not come up, or is gone, with what it left
// behind as evidence.
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
	return b.String()
}

func (e *GuestError) Unwrap() error { return e.Err }

// hostError is err as a *HostError when the reason is that there is no QEMU.
func hostError(err error) error {
	var missing *qemu.MissingError
	if errors.As(err, &missing) {
		return &HostError{Cause: err.Error(), Cure: "install QEMU, as \"vmtest setup\" does", Err: err}
	}
	return err
}

// asExit tells whether err is about how a command ended, and not about the guest.
func asExit(err error) bool {
	var exit *ExitError
	return errors.As(err, &exit)
}
