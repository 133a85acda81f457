package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
)

// Reboot makes the guest reboot by systemctl and waits until its systemd is "running"
// again. What was written is lost with the RAM that it was written to, unless the machine
// has a Disk. It takes as long as a cold boot.
//
// If ctx has ended already, Reboot returns an error and the guest runs on. If ctx ends
// later, the guest may have begun to reboot; it then ends instead.
func (m *Machine) Reboot(ctx context.Context) error {
	release, err := m.hold(ctx, "reboot")
	if err != nil {
		return err
	}
	defer release()
	if m.Ahead() != 0 { // the next kernel reads the hardware's clock
		if _, err := m.ChangeClock(ctx, guest.ClockChange{Hardware: true}); err != nil {
			return err
		}
	}
	if err = m.setRebootAction(ctx, "reset"); err == nil {
		err = m.restart(ctx, "reboot", "Reboot")
	} else {
		err = m.Explain(ctx, "reboot", err)
	}
	// Also after an error, and after ctx: an unexpected reset, such as after a
	// panic, must end the machine. QEMU may run a command whose answer came too late.
	restore, cancel := deadline.Within(deadline.ForEvidence(ctx), deadline.Limit{What: "not done", Time: exitTime})
	defer cancel()
	restored := m.setRebootAction(restore, "shutdown")
	if errors.As(err, new(*GuestError)) && errors.Is(restored, qmp.ErrClosed) {
		return err // it reports already that the guest has gone
	}
	return errors.Join(err, m.lost("reboot", restored))
}

// SoftReboot makes the guest's user space reboot on the same kernel (systemctl(1),
// soft-reboot; systemd 254 and later) and waits until its systemd is "running" again.
// Files stay.
func (m *Machine) SoftReboot(ctx context.Context) error {
	release, err := m.hold(ctx, "soft-reboot")
	if err != nil {
		return err
	}
	defer release()
	return m.restart(ctx, "soft-reboot", "SoftReboot")
}

// setRebootAction sets what QEMU does when the guest resets itself.
func (m *Machine) setRebootAction(ctx context.Context, action string) error {
	return m.monitor.Execute(ctx, "set-action", map[string]string{"reboot": action}, nil, nil)
}

// systemctlKept bounds how much of systemctl's standard error is kept, in bytes.
const systemctlKept = 4 << 10

// restart runs the verb of systemctl that ends the system, and follows the next one. by is
// the method that does so.
func (m *Machine) restart(ctx context.Context, verb, by string) (err error) {
	ctx, cancel := deadline.Within(ctx, deadline.Limit{
		What: "not up again", Time: m.spec.BootTimeout, Name: "Config.BootTimeout", Pace: m.Pace,
	})
	defer cancel()
	before := m.events.now()
	why, last := &EndedError{By: by}, m.Session()
	defer func() {
		if err != nil && m.Session() == last {
			m.stranded.Store(why)
		}
	}()
	m.restarting.Store(why)
	defer m.restarting.Store(nil)
	// Without --no-block systemctl may wait for a bus that goes away. With it, the
	// command ends before the system does, or the system ends the command.
	stderr := tail.NewBuffer(systemctlKept)
	err = m.Exec(ctx, link.Command{Args: []string{"systemctl", "--no-block", verb}, Stdout: io.Discard, Stderr: stderr})
	if refused(err) {
		err = fmt.Errorf("%s %s: systemctl: %w", verb, m.spec.image(), err)
		if text := strings.TrimSpace(stderr.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, tail.Printable(text))
		}
		return err
	}
	// The next agent's own port. The last one has closed it before, and so has a reset.
	closed, err := m.events.waitPort(ctx, before.portOpened)
	if err != nil {
		return m.bootError(ctx, verb, fmt.Errorf("wait for the agent of the next system: %w", err))
	}
	if verb == "reboot" {
		m.rebooted.Store(true)
	}
	m.endSession(why)
	m.restarting.Store(nil) // the end of the next session is the guest's doing
	conn, err := m.rewire(ctx, qemu.LinkID)
	if err != nil {
		return m.bootError(ctx, verb, err)
	}
	return m.settle(ctx, verb, conn, closed)
}

// refused reports whether the command that ends the system has not done so, judging by
// the command's error. It has if the link has ended, or if systemd has stopped the command
// with everything else.
func refused(err error) bool {
	var exit *link.ExitError
	switch {
	case err == nil, errors.Is(err, link.ErrLost), errors.As(err, new(*EndedError)), errors.As(err, new(*GuestError)):
		return false
	case errors.As(err, &exit):
		return exit.Signal != "TERM"
	}
	return true
}

// rewire gives a port a new stream, without what is left on the old one.
func (m *Machine) rewire(ctx context.Context, id string) (*net.UnixConn, error) {
	ours, theirs, err := qemu.Wire(id)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	err = m.monitor.Execute(ctx, "getfd", map[string]string{"fdname": id}, nil, theirs)
	if err == nil {
		err = m.monitor.Execute(ctx, "chardev-change", map[string]any{
			"id": id,
			"backend": map[string]any{
				"type": "socket",
				"data": map[string]any{
					"server": false,
					"addr":   map[string]any{"type": "fd", "data": map[string]string{"str": id}},
				},
			},
		}, nil, nil)
	}
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("connect to the guest's port %s again: %w", id, err)
	}
	return ours, nil
}
