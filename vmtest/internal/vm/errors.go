package vm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
)

// GuestError reports that a guest did not come up, has gone or no longer answers.
// vmtest.GuestError documents the fields.
type GuestError struct {
	Image   string
	Doing   string
	Err     error
	Console []string
	Stderr  string
}

// Error returns the cause on the first line and the evidence on those below it.
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
	return tail.Printable(b.String()) // the guest may have written the cause
}

// Unwrap returns the cause.
func (e *GuestError) Unwrap() error { return e.Err }

// HostError returns err as an *host.Error if the reason is that the host lacks QEMU
// or room on its disk.
func HostError(err error) error {
	var known *host.Error
	var missing *qemu.MissingError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &missing):
		return &host.Error{Cause: err.Error(), Cure: "install QEMU, as \"vmtest setup\" does", Err: err}
	}
	return host.NoSpace(err)
}

// Explain adds to the error of a call why the call failed, as far as the machine shows
// it: the guest has gone, or what it does now if a deadline ended ctx. A guest that has
// gone or does not answer is a *GuestError. doing is the call, such as "copy into".
func (m *Machine) Explain(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return m.overdue(ctx, doing, m.lost(doing, err))
}

// lost returns err as a *GuestError if its reason is that the guest, its agent's end of
// the link, or QEMU's monitor has gone, and as it is otherwise.
func (m *Machine) lost(doing string, err error) error {
	if !errors.Is(err, link.ErrLost) && !errors.Is(err, qmp.ErrClosed) || errors.As(err, new(*GuestError)) {
		return err
	}
	ctx, cancel := deadline.Within(deadline.ForEvidence(context.Background()), deadline.Limit{Time: lastWords})
	defer cancel()
	select {
	case <-m.Done():
		return m.guestError(doing, m.process.Err())
	case <-ctx.Done():
		what := "the guest's agent closed the link"
		if errors.Is(err, qmp.ErrClosed) {
			what = "QEMU's monitor is closed"
		}
		return m.guestError(doing, fmt.Errorf("%s while QEMU goes on: %w; %v", what, err, m.Examine()))
	}
}

// overdue adds to err what the guest does now if a deadline ended ctx. The error of a
// guest that does not answer is a *GuestError.
func (m *Machine) overdue(ctx context.Context, doing string, err error) error {
	if err == nil || !deadline.Struck(ctx) || errors.As(err, new(*GuestError)) {
		return err
	}
	h := m.Examine()
	err = fmt.Errorf("%w; %v", err, h)
	if h.Answers() {
		return err
	}
	return m.guestError(doing, err)
}

// verdict returns the *GuestError of a machine that did not come up because of err.
func (m *Machine) verdict(ctx context.Context, doing string, err error) error {
	if errors.As(err, new(*GuestError)) { // of a command that was part of it
		return fmt.Errorf("%s %s: %w", doing, m.spec.image(), err)
	}
	if err = m.Explain(ctx, doing, err); errors.As(err, new(*GuestError)) {
		return err
	}
	return m.guestError(doing, err)
}

// guestError returns err with the evidence, and with the cause if the console or QEMU
// shows one.
func (m *Machine) guestError(doing string, err error) error {
	gone := false
	select {
	case <-m.Done():
		finished(m.consoleDone)
		finished(m.eventsDone)
		gone = true
	default:
	}
	lines := m.console.Lines(math.MaxInt)
	cause := consoleCause(lines) // the trace of a panic may be longer than what is shown
	if cause == "" && gone {
		switch m.ending() {
		case EndingPoweroff:
			cause = "the guest powered off"
		case EndingReboot:
			cause = "the guest rebooted"
		}
	}
	if cause != "" {
		err = fmt.Errorf("%s: %w", cause, err)
	}
	return &GuestError{
		Image:   m.spec.image(),
		Doing:   doing,
		Err:     err,
		Console: lines[max(0, len(lines)-consoleShown):],
		Stderr:  tail.Printable(m.process.Stderr()),
	}
}
