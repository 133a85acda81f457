package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
)

// GuestError reports that a guest did not come up, has gone, or that its agent does not
// answer. Package vmtest documents the fields.
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
	if errors.As(e.Err, new(*EndedError)) {
		return tail.Printable(b.String()) // the guest has no part in it
	}
	if len(e.Console) == 0 {
		b.WriteString("\nthe guest printed nothing on its console")
	} else {
		fmt.Fprintf(&b, "\nthe guest's console, %d lines:", len(e.Console))
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

// EndedError reports that a method of Machine has ended the session with the agent, or the
// machine, and with it the call whose error it is. It is a net.ErrClosed to errors.Is.
type EndedError struct {
	By   string // the method, such as "Reboot"
	Gone bool   // the machine ends too, and not the session alone
}

func (e *EndedError) Error() string { return "the host ended the session by " + e.By }

// Is reports whether target is net.ErrClosed.
func (e *EndedError) Is(target error) bool { return target == net.ErrClosed }

// HostError returns err as a *host.Error if its reason is that the host lacks room on its
// disk.
func HostError(err error) error {
	if errors.As(err, new(*host.Error)) {
		return err
	}
	return host.NoSpace(err)
}

// Explain adds to the error of a call why the call failed, as far as the machine shows
// it: that the guest has gone, or what Examine finds if a deadline ended ctx. If the guest
// has gone or its agent does not answer, the result is a *GuestError. doing is the call,
// such as "copy into".
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
// the link, or QEMU's monitor has gone. If this host ended the machine, lost adds that, and
// the result has no evidence. It returns any other err as it is, also that of a session which
// this host ended on a machine that runs on.
func (m *Machine) lost(doing string, err error) error {
	ended, ok := errors.AsType[*EndedError](err)
	switch {
	case errors.As(err, new(*GuestError)), ok && !ended.Gone && !isClosed(m.Done()) && ended != m.stranded.Load():
		return err
	case ok && ended.Gone:
		return &GuestError{Image: m.spec.image(), Doing: doing, Err: err}
	case !ok && !errors.Is(err, link.ErrLost) && !errors.Is(err, qmp.ErrClosed):
		return err
	}
	if ended := m.ended.Load(); ended != nil {
		return &GuestError{Image: m.spec.image(), Doing: doing, Err: fmt.Errorf("%w: %w", ended, err)}
	}
	if ok { // the guest has not come back from a restart
		err = fmt.Errorf("%w: %v", link.ErrLost, err)
	}
	ctx, cancel := deadline.Within(deadline.ForEvidence(context.Background()), deadline.Limit{Time: exitTime})
	defer cancel()
	select {
	case <-m.Done():
		return m.guestError(doing, fmt.Errorf("%w; %w", m.process.Err(), err))
	case <-ctx.Done():
		what := "the guest's agent closed the link"
		if errors.Is(err, qmp.ErrClosed) {
			what = "QEMU's monitor is closed"
		}
		return m.guestError(doing, fmt.Errorf("%s while QEMU runs: %w; %v", what, err, m.Examine()))
	}
}

// overdue adds to err what Examine finds if a deadline ended ctx. The result is a
// *GuestError if the agent does not answer.
//
// A guest whose PID 1 does not answer is none: its agent still copies files, runs commands
// and yields evidence, and a busy PID 1 may answer the next call. The error says so.
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

// bootError returns the *GuestError of a machine that did not come up because of err. If
// the caller cancelled ctx, or this host ended the session and not the machine, the guest may
// be well and the result is no *GuestError.
func (m *Machine) bootError(ctx context.Context, doing string, err error) error {
	if errors.As(err, new(*GuestError)) { // of a command that was part of it
		return fmt.Errorf("%s %s: %w", doing, m.spec.image(), err)
	}
	// A handshake that this host ended returns what the stream shows, such as io.EOF.
	if ended := m.ended.Load(); ended != nil && !errors.As(err, new(*EndedError)) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	if err = m.Explain(ctx, doing, err); errors.As(err, new(*GuestError)) {
		return err
	}
	if errors.As(err, new(*EndedError)) || ctx.Err() != nil && !deadline.Struck(ctx) {
		return fmt.Errorf("%s %s: %w", doing, m.spec.image(), err)
	}
	return m.guestError(doing, err)
}

// guestError returns err with the evidence, and with the cause if the machine shows one.
func (m *Machine) guestError(doing string, err error) error {
	if isClosed(m.Done()) {
		m.readRest()
	}
	if cause := m.cause(); cause != "" {
		err = fmt.Errorf("%s: %w", cause, err)
	}
	return &GuestError{
		Image:   m.spec.image(),
		Doing:   doing,
		Err:     err,
		Console: m.ConsoleEnd(consoleShown),
		Stderr:  tail.Printable(m.process.Stderr()),
	}
}

// readRest waits until all that QEMU has left on its console and monitor is read.
func (m *Machine) readRest() {
	m.consoleRead()
	ctx, cancel := deadline.Within(deadline.ForEvidence(context.Background()), deadline.Limit{Time: exitTime})
	defer cancel()
	select {
	case <-m.eventsDone:
	case <-ctx.Done():
	}
}
