package vm

import (
	"context"
	"errors"
	"fmt"
	"net"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
)

// Reboot has the guest reboot by systemctl and waits until its systemd is "running"
// again. All that was written is gone with the RAM that it was written to: the guest
// comes up as its image is, unless it has a Config.Disk. It takes as long as a cold
// boot.
func (m *Machine) Reboot(ctx context.Context) error {
	if err := m.setRebootAction(ctx, "reset"); err != nil {
		return m.lost("reboot", err)
	}
	err := m.restart(ctx, "reboot")
	// Also when that failed and its time is up: a reset that nobody asked for, as
	// after a panic, has to end the machine.
	restore, cancel := deadline.Within(deadline.ForEvidence(ctx), deadline.Limit{What: "not done", Time: lastWords})
	defer cancel()
	restored := m.setRebootAction(restore, "shutdown")
	if errors.As(err, new(*GuestError)) && errors.Is(restored, qmp.ErrClosed) {
		return err // has told already that the guest is gone
	}
	return errors.Join(err, m.lost("reboot", restored))
}

// SoftReboot has the guest's user space reboot on the same kernel (systemctl(1),
// soft-reboot; systemd 254 and later) and waits until its systemd is "running"
// again. Files stay.
func (m *Machine) SoftReboot(ctx context.Context) error {
	return m.restart(ctx, "soft-reboot")
}

// setRebootAction says what QEMU does when the guest resets itself.
func (m *Machine) setRebootAction(ctx context.Context, action string) error {
	return m.monitor.Execute(ctx, "set-action", map[string]string{"reboot": action}, nil, nil)
}

// restart runs the verb of systemctl that ends the system, and follows the next one.
func (m *Machine) restart(ctx context.Context, verb string) error {
	ctx, cancel := deadline.Within(ctx, deadline.Limit{What: "not up again", Time: m.spec.BootTimeout, Name: "Config.BootTimeout"})
	defer cancel()
	before := m.events.now()
	session := m.Session()
	// Without --no-block systemctl may wait for a bus that goes away. With it, the
	// command ends before the system does, or dies with it.
	if err := m.run(ctx, "systemctl", "--no-block", verb); refused(err) {
		return err
	}
	m.Systemd.Close()
	err := m.events.wait(ctx, func(seen eventCount) bool { return seen.portOpened > before.portOpened })
	if err != nil {
		return m.verdict(ctx, verb, fmt.Errorf("wait for the agent of the next system: %w", err))
	}
	session.Close()
	conn, err := m.rewire(ctx)
	if err != nil {
		return m.verdict(ctx, verb, err)
	}
	return m.settle(ctx, verb, conn)
}

// refused tells from the error of the command that is to end the system that it has not
// done so. It has when the link is lost, or when systemd has stopped the command with
// all else.
func refused(err error) bool {
	var exit *link.ExitError
	switch {
	case err == nil, errors.Is(err, link.ErrLost), errors.As(err, new(*GuestError)):
		return false
	case errors.As(err, &exit):
		return exit.Signal != "TERM"
	}
	return true
}

// rewire gives the guest link's port a new stream, clean of what the last system
// left half-said on the old one.
func (m *Machine) rewire(ctx context.Context) (net.Conn, error) {
	ours, theirs, err := qemu.Wire("link")
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	const name = "link"
	err = m.monitor.Execute(ctx, "getfd", map[string]string{"fdname": name}, nil, theirs)
	if err == nil {
		err = m.monitor.Execute(ctx, "chardev-change", map[string]any{
			"id": qemu.LinkID,
			"backend": map[string]any{
				"type": "socket",
				"data": map[string]any{
					"server": false,
					"addr":   map[string]any{"type": "fd", "data": map[string]string{"str": name}},
				},
			},
		}, nil, nil)
	}
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("connect to the guest link anew: %w", err)
	}
	return ours, nil
}
