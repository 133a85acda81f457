package vmtest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// WaitSettled waits until the unit has no job and is not activating, deactivating or
// reloading, and returns its state then. It is for a unit that may end in one of several
// states.
func (u *MachineUnit) WaitSettled(ctx context.Context) (UnitState, error) {
	p, err := u.machine.units().WaitSettled(ctx, u.name)
	return u.saw(ctx, p, "settled", err)
}

// WaitState waits until ok accepts the state of the unit, and returns that state. It calls
// ok at first, and after each of systemd's signals that is about the unit, what may start
// it, or the services of its connections. systemd announces neither NRefused nor what the
// unit uses of the processor and the memory; wait for these by WaitProperty. WaitState fails
// at once with [ErrStateUnreachable] as Wait does.
func (u *MachineUnit) WaitState(ctx context.Context, ok func(UnitState) bool) (UnitState, error) {
	p, err := u.machine.units().WaitProperties(ctx, u.name, func(p map[string]any) bool { return ok(unitState(p)) })
	return u.saw(ctx, p, "accepted by the function of WaitState", err)
}

// saw returns the state that a wait saw last, and its error.
func (u *MachineUnit) saw(ctx context.Context, p map[string]any, want string, err error) (UnitState, error) {
	if err == nil {
		return unitState(p), nil
	}
	e := &UnitError{Op: "wait", Want: want, ExitCode: -1}
	if p == nil {
		return UnitState{}, u.fail(ctx, e, err)
	}
	s := unitState(p)
	e.setState(systemd.StateOf(p))
	if len(s.Listen) > 0 {
		err = fmt.Errorf("%w; %v", err, s)
	}
	return s, u.fail(ctx, e, err)
}

// WaitProperty waits until a property of the unit is want, such as NConnections 0. Its type
// is one that Property reads the property into, such as a time.Duration for a time span;
// numbers may be of any integer type.
// WaitProperty looks again after each of systemd's signals that is about the unit, what may
// start it, or the services of its connections, and several times a second at a property
// that systemd does not announce, such as NRefused or MemoryCurrent. It fails at once if
// the unit has no such property, and with [ErrStateUnreachable] if the property cannot change
// by itself any more: the unit is down and nothing will start it, or the number of
// connections that a socket accepted or refused is greater than want.
func (u *MachineUnit) WaitProperty(ctx context.Context, name string, want any) error {
	number, err := asNumber(name, want)
	if err != nil {
		return fmt.Errorf("wait for %s of %s: %w", tail.Printable(name), u.label(), err)
	}
	saw, err := u.machine.units().WaitProperty(ctx, u.name, name, number)
	if err == nil {
		return nil
	}
	e := &UnitError{Op: "wait", Property: name, Want: fmt.Sprint(want), ExitCode: -1}
	if saw != nil {
		err = fmt.Errorf("%w; %s is %s", err, name, tail.Printable(fmt.Sprint(like(name, saw, want))))
	}
	return u.fail(ctx, e, err)
}

// WaitInstances waits until n instances of a template, such as "demo-echo@.service", run,
// have failed or have a job: those that Instances returns. It looks again after each of
// systemd's signals that is about one of them. It fails at once with [ErrStateUnreachable]
// if there are fewer than n and the socket that starts them is down, and if more than n
// have failed and stay, which CollectMode= decides. The Journal of the *[UnitError] has the
// last lines of all instances.
func (u *MachineUnit) WaitInstances(ctx context.Context, n int) error {
	saw, err := u.machine.units().WaitInstances(ctx, u.name, n)
	if err == nil {
		return nil
	}
	texts := []string{"there are none"}
	if len(saw) > 0 {
		texts = nil
		for _, s := range saw {
			texts = append(texts, fmt.Sprintf("%s is %s (%s)", s.Name, s.ActiveState, s.SubState))
		}
	}
	e := &UnitError{Op: "wait", Want: strconv.Itoa(n), ExitCode: -1}
	return u.fail(ctx, e, fmt.Errorf("%w; %s", err, tail.Printable(strings.Join(texts, ", "))))
}

// WaitSettled waits until the unit has no job and is on its way to no other state, as
// MachineUnit.WaitSettled.
func (u *Unit) WaitSettled(t testing.TB) UnitState {
	t.Helper()
	return get(t, u.guest, u.unit.WaitSettled)
}

// WaitState waits until ok accepts the state of the unit, as MachineUnit.WaitState.
func (u *Unit) WaitState(t testing.TB, ok func(UnitState) bool) UnitState {
	t.Helper()
	return get(t, u.guest, func(ctx context.Context) (UnitState, error) { return u.unit.WaitState(ctx, ok) })
}

// WaitProperty waits until a property of the unit is want, as MachineUnit.WaitProperty.
func (u *Unit) WaitProperty(t testing.TB, name string, want any) {
	t.Helper()
	u.guest.do(t, func(ctx context.Context) error { return u.unit.WaitProperty(ctx, name, want) })
}

// WaitInstances waits until there are n instances of a template, as
// MachineUnit.WaitInstances.
func (u *Unit) WaitInstances(t testing.TB, n int) {
	t.Helper()
	u.guest.do(t, func(ctx context.Context) error { return u.unit.WaitInstances(ctx, n) })
}
