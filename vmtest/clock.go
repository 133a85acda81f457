package vmtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

func (c Config) checkClock() error {
	if c.Clock.IsZero() {
		return nil
	}
	if err := vm.CheckClock(c.Clock); err != nil {
		return fmt.Errorf("configure machine: %w", err)
	}
	return nil
}

// Clock returns what the guest's wall clock shows.
func (m *Machine) Clock(ctx context.Context) (time.Time, error) {
	return m.changeClock(ctx, guest.ClockChange{})
}

// SetClock sets the guest's wall clock, from 1970 to 2232. As after any step of it, systemd
// computes calendar timers (OnCalendar=) again, so one whose time has come elapses, and starts
// what OnClockChange= asks for (systemd.timer(5)). Monotonic timers do not notice; see
// Advance for those. A Reboot keeps the clock, unless it is before the guest's systemd was
// built: systemd sets it to that while it boots. A Snapshot of the machine has the host's time.
func (m *Machine) SetClock(ctx context.Context, at time.Time) error {
	if err := vm.CheckClock(at); err != nil { // the zero value, too
		return err
	}
	_, err := m.changeClock(ctx, guest.ClockChange{Set: at})
	return err
}

// StepClock steps the guest's wall clock ahead, or back if by is negative, as SetClock does.
func (m *Machine) StepClock(ctx context.Context, by time.Duration) error {
	_, err := m.changeClock(ctx, guest.ClockChange{Step: by})
	return err
}

// SlewClock makes the guest's clocks go faster, or slower if by is negative, until the wall
// clock has gained by, as a daemon of NTP does (adjtime(3)). The kernel slews half a
// millisecond a second, and the monotonic clock with it. Nothing in the guest is told.
// SlewClock returns at once, and replaces what is left of an earlier slew.
func (m *Machine) SlewClock(ctx context.Context, by time.Duration) error {
	_, err := m.changeClock(ctx, guest.ClockChange{Slew: by})
	return err
}

// SetTimeZone sets the guest's time zone, such as "Asia/Kolkata", as timedatectl does. systemd
// watches for that (OnTimezoneChange= of systemd.timer(5)). Images have no time zones: add the
// package tzdata, or write the file to /usr/share/zoneinfo.
func (m *Machine) SetTimeZone(ctx context.Context, name string) error {
	return public(m.vm.SetTimeZone(ctx, name))
}

func (m *Machine) changeClock(ctx context.Context, c guest.ClockChange) (time.Time, error) {
	now, err := m.vm.ChangeClock(ctx, c)
	return now, public(err)
}

// Clock returns what the guest's wall clock shows.
func (g *Guest) Clock(t testing.TB) time.Time {
	t.Helper()
	return get(t, g, g.Machine.Clock)
}

// SetClock sets the guest's wall clock, as Machine.SetClock.
func (g *Guest) SetClock(t testing.TB, at time.Time) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.SetClock(ctx, at) })
}

// StepClock steps the guest's wall clock, as Machine.StepClock.
func (g *Guest) StepClock(t testing.TB, by time.Duration) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.StepClock(ctx, by) })
}

// SlewClock slews the guest's clocks, as Machine.SlewClock.
func (g *Guest) SlewClock(t testing.TB, by time.Duration) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.SlewClock(ctx, by) })
}

// SetTimeZone sets the guest's time zone, as Machine.SetTimeZone.
func (g *Guest) SetTimeZone(t testing.TB, name string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.SetTimeZone(ctx, name) })
}
