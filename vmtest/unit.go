package vmtest

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// MachineUnit is a unit of a [Machine]'s guest. It is no more than a name: the unit need
// not exist. Its methods, but for Show and Status, ask the guest's systemd and run no program there.
// They outlive a systemctl daemon-reexec. If the unit does not do what was asked of it,
// their error is a *[UnitError], and if the guest has gone, a *[GuestError].
type MachineUnit struct {
	machine *Machine
	name    string
}

// Unit returns the unit of that name, such as "demo-echo.socket". It need not exist, and nothing
// is asked of the guest. The unit is under test from then on; see Unexpected.
func (m *Machine) Unit(name string) *MachineUnit {
	m.announced.test(m.unitID(name))
	return &MachineUnit{m, name}
}

// Name returns the name of the unit.
func (u *MachineUnit) Name() string { return u.name }

// Wait waits until the unit's ActiveState or SubState is state, such as "active",
// "listening" or "inactive". It looks again after each of systemd's signals that is about
// the unit.
//
// Wait fails at once if the unit fails, unless state is "failed", and if units of its type
// have no such state. It also fails at once, with [ErrStateUnreachable], if the state cannot
// come by itself any more: the unit is inactive, has no job, and no active socket, timer,
// path or other unit may start it. So start the unit first. Mounts, swaps and devices are waited for in any case, because they may come
// without systemd's doing.
//
// A service of Type=simple, the default, is "active" before its program runs. Connect to
// it, or use Type=notify, to see that it works.
func (u *MachineUnit) Wait(ctx context.Context, state string) error {
	saw, err := u.machine.units().WaitUnit(ctx, u.name, state)
	if err == nil {
		if state == "failed" {
			u.machine.announced.seeFailure(u.machine.unitID(u.name))
		}
		return nil
	}
	e := &UnitError{Op: "wait", Want: state}
	e.setState(saw)
	return u.fail(ctx, e, err)
}

// Start starts the unit and waits until that is done, as systemctl start does. A unit that
// is active already is left alone. A service of Type=simple, the default, is started before
// its program runs, so one that fails at once may still start without an error: wait for
// "failed" to test that it fails. A condition of the unit that is false is an error here,
// which it is not to systemctl: the unit has not started.
func (u *MachineUnit) Start(ctx context.Context) error { return u.run(ctx, systemd.Start) }

// Stop stops the unit and waits until that is done, as systemctl stop does. It may leave
// the unit "failed", such as after a process that had to be killed. A unit that is not
// active is left alone.
func (u *MachineUnit) Stop(ctx context.Context) error { return u.run(ctx, systemd.Stop) }

// Restart stops the unit if it is active, starts it and waits until that is done, as
// systemctl restart does. A condition that is false is an error, as it is to Start.
func (u *MachineUnit) Restart(ctx context.Context) error { return u.run(ctx, systemd.Restart) }

// Reload makes the unit read its configuration again and waits until that is done, as
// systemctl reload does. The unit must be active and must have a way to do that, such as
// ExecReload=.
func (u *MachineUnit) Reload(ctx context.Context) error { return u.run(ctx, systemd.Reload) }

func (u *MachineUnit) run(ctx context.Context, verb systemd.Verb) error {
	err := u.machine.units().RunUnit(ctx, verb, u.name)
	if err == nil {
		return nil
	}
	return u.fail(ctx, &UnitError{Op: string(verb), ExitCode: -1}, err)
}

// Kill sends a signal to all processes of the unit, as systemctl kill does. It returns once
// the signal is sent. A unit that has no process is an error.
func (u *MachineUnit) Kill(ctx context.Context, signal syscall.Signal) error {
	err := u.machine.units().KillUnit(ctx, u.name, signal)
	if err == nil {
		return nil
	}
	return u.fail(ctx, &UnitError{Op: "kill", ExitCode: -1}, err)
}

// label returns the name of the unit for an error, which a bad name may make long.
func (u *MachineUnit) label() string {
	if len(u.name) > 255 {
		return tail.Printable(u.name[:40]) + "..."
	}
	return tail.Printable(u.name)
}

// fail returns e with its cause and the evidence for it.
func (u *MachineUnit) fail(ctx context.Context, e *UnitError, err error) error {
	e.Unit, e.Err = u.name, public(err)
	if errors.As(err, new(*systemd.NameError)) {
		return fmt.Errorf("%s: %w", e.Op, e.Err) // which quotes the name
	}
	if errors.As(e.Err, new(*GuestError)) || errors.As(err, new(*vm.EndedError)) || errors.As(err, new(*systemd.StateError)) {
		return e.plain() // there is no guest to ask for more, or nothing to ask
	}
	if ctx.Err() != nil && !deadline.Struck(ctx) {
		return e.plain() // the caller gave up, and waits for nothing
	}
	if job, ok := errors.AsType[*systemd.JobError](err); ok {
		e.JobResult = job.Result
	}
	u.machine.announced.seeFailure(u.machine.unitID(u.name))
	if gone := u.addEvidence(ctx, e); gone != nil { // which may be the unit's doing
		e.Err = fmt.Errorf("%w; %w", e.Err, gone)
		return e.plain()
	}
	return e
}

// Unit is a unit of a [Guest], in the hands of a test.
type Unit struct {
	guest *Guest
	unit  *MachineUnit
}

// Unit returns the unit of that name, such as "demo-echo.socket", as Machine.Unit.
func (g *Guest) Unit(name string) *Unit { return &Unit{g, g.Machine.Unit(name)} }

// Name returns the name of the unit.
func (u *Unit) Name() string { return u.unit.name }

// Wait waits until the unit's ActiveState or SubState is state, as MachineUnit.Wait. It
// fails the test at once if the unit fails, or cannot get there by itself.
func (u *Unit) Wait(t testing.TB, state string) {
	t.Helper()
	u.guest.do(t, func(ctx context.Context) error { return u.unit.Wait(ctx, state) })
}

// Start starts the unit, as MachineUnit.Start.
func (u *Unit) Start(t testing.TB) {
	t.Helper()
	u.guest.do(t, u.unit.Start)
}

// Stop stops the unit, as MachineUnit.Stop.
func (u *Unit) Stop(t testing.TB) {
	t.Helper()
	u.guest.do(t, u.unit.Stop)
}

// Restart restarts the unit, as MachineUnit.Restart.
func (u *Unit) Restart(t testing.TB) {
	t.Helper()
	u.guest.do(t, u.unit.Restart)
}

// Reload makes the unit read its configuration again, as MachineUnit.Reload.
func (u *Unit) Reload(t testing.TB) {
	t.Helper()
	u.guest.do(t, u.unit.Reload)
}

// Kill sends a signal to all processes of the unit, as MachineUnit.Kill.
func (u *Unit) Kill(t testing.TB, signal syscall.Signal) {
	t.Helper()
	u.guest.do(t, func(ctx context.Context) error { return u.unit.Kill(ctx, signal) })
}
