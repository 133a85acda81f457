package vmtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// MachineUnit is a unit of a [Machine]'s guest. It is no more than a name: the unit need
// not exist.
type MachineUnit struct {
	machine *Machine
	name    string
}

// Unit returns the unit of that name, such as "demo-echo.socket".
func (m *Machine) Unit(name string) *MachineUnit { return &MachineUnit{m, name} }

// Name returns the name of the unit.
func (u *MachineUnit) Name() string { return u.name }

// UnitError reports that a unit did not reach the state that was waited for.
type UnitError struct {
	Unit, Want  string
	ActiveState string
	SubState    string
	Result      string   // why it failed, such as "exit-code", or ""
	Journal     []string // the last lines of the unit's journal
	Err         error    // why the wait ended
}

func (e *UnitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "wait for %s to be %s: %v; it is %s (%s)", e.Unit, e.Want, e.Err, e.ActiveState, e.SubState)
	if e.Result != "" {
		b.WriteString(", result " + e.Result)
	}
	if len(e.Journal) == 0 {
		b.WriteString("\nits journal is empty")
	}
	for _, line := range e.Journal {
		b.WriteString("\n  | " + line)
	}
	return tail.Printable(b.String()) // the guest writes states and causes
}

// Unwrap returns why the wait ended.
func (e *UnitError) Unwrap() error { return e.Err }

// Wait waits until the unit's ActiveState or SubState is state, such as "active",
// "listening" or "inactive". It looks again after each of systemd's signals that may be
// about the unit, and fails at once, with a *[UnitError], if the unit fails. A service of
// Type=simple, the default, is "active" before its program runs. Connect to it, or use
// Type=notify, to see that it works.
func (u *MachineUnit) Wait(ctx context.Context, state string) error {
	saw, err := u.machine.vm.WaitUnit(ctx, u.name, state)
	switch err = public(err); {
	case err == nil:
		return nil
	case errors.As(err, new(*GuestError)): // there is nobody left to ask for more
		return fmt.Errorf("wait for %s to be %s: %w", u.name, state, err)
	}
	e := &UnitError{Unit: u.name, Want: state, ActiveState: saw.ActiveState, SubState: saw.SubState, Result: saw.Result, Err: err}
	return u.withJournal(ctx, e)
}

// withJournal adds to e the end of the unit's journal.
func (u *MachineUnit) withJournal(ctx context.Context, e *UnitError) error {
	// The wait's own time may be over.
	ctx, cancel := deadline.Within(deadline.ForEvidence(ctx), deadline.Limit{What: "not read", Time: deadline.Reserve / 2})
	defer cancel()
	entries, err := u.machine.Journal(ctx, JournalQuery{Unit: e.Unit, Last: 20})
	if err != nil {
		e.Journal = []string{"its journal cannot be read: " + err.Error()}
	}
	for _, entry := range entries {
		e.Journal = append(e.Journal, entry.String())
	}
	return e
}

// Unit is a unit of a [Guest], in the hands of a test.
type Unit struct {
	guest *Guest
	unit  *MachineUnit
}

// Unit returns the unit of that name, such as "demo-echo.socket". It need not exist.
func (g *Guest) Unit(name string) *Unit { return &Unit{g, g.Machine.Unit(name)} }

// Name returns the name of the unit.
func (u *Unit) Name() string { return u.unit.name }

// Wait waits until the unit's ActiveState or SubState is state, as MachineUnit.Wait, and
// fails the test at once if the unit fails instead.
func (u *Unit) Wait(t testing.TB, state string) {
	t.Helper()
	u.guest.do(t, func(ctx context.Context) error { return u.unit.Wait(ctx, state) })
}
