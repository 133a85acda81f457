package scenarios

import (
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// utc is a time that a person can read.
func utc(year int, month time.Month, day, hour, minute, second int) time.Time {
	return time.Date(year, month, day, hour, minute, second, 0, time.UTC)
}

// withWallClock is a guest in February of a leap year whose timers heed the wall clock.
func withWallClock(t *testing.T) *vmtest.Guest {
	t.Helper()
	begin := utc(2028, 2, 27, 9, 0, 0)
	g := vmtest.Start(t, vmtest.Config{Clock: begin})
	assert.WithinDuration(t, begin, g.Clock(t), time.Minute, "clock of a guest that starts at a date")
	g.CopyFS(t, os.DirFS("testdata/clock/wall"), "/etc/systemd/system")
	g.DaemonReload(t)
	for _, timer := range []string{"february.timer", "stepped.timer", "moved.timer"} {
		g.Unit(timer).Start(t)
	}
	return g
}

// A calendar timer elapses when the wall clock is set to its time, in a leap year and in
// another: on the last day of February at noon. A step makes systemd compute it again.
// See OnCalendar= in systemd.timer(5) and systemd.time(7).
func TestClockLastDayOfFebruary(t *testing.T) {
	t.Parallel()
	g := withWallClock(t)
	for _, noon := range []time.Time{utc(2028, 2, 29, 12, 0, 0), utc(2027, 2, 28, 12, 0, 0)} {
		run := vmtest.JournalQuery{By: "february.service", Contains: "february is over", After: g.JournalEnd(t)}
		g.SetClock(t, noon.Add(-time.Hour))
		g.Unit("february.timer").WaitProperty(t, "NextElapseUSecRealtime", uint64(noon.UnixMicro()))
		g.SetClock(t, noon.Add(-time.Second))
		e := g.WaitJournal(t, run, nil)
		assert.False(t, e.Time.Before(noon), "it ran at %v", e.Time)
		assert.WithinDuration(t, noon, e.Time, 20*time.Second)
	}
	// One that has been stepped over elapses at once.
	run := vmtest.JournalQuery{By: "february.service", Contains: "february is over", After: g.JournalEnd(t)}
	g.SetClock(t, utc(2029, 1, 1, 0, 0, 0))
	e := g.WaitJournal(t, run, nil)
	assert.WithinDuration(t, utc(2029, 1, 1, 0, 0, 0), e.Time, 20*time.Second)
}

// A step of the wall clock starts what OnClockChange= asks for, each time. A slew does not,
// and changes the clock all the same. See systemd.timer(5), adjtime(3).
func TestClockStepAndSlew(t *testing.T) {
	t.Parallel()
	g := withWallClock(t)
	needAdvance(t, g)
	stepped := vmtest.JournalQuery{By: "stepped.service", Contains: "the clock was stepped"}
	for _, by := range []time.Duration{time.Hour, -2 * time.Hour} {
		before := g.Clock(t)
		stepped.After = g.JournalEnd(t)
		g.StepClock(t, by)
		g.WaitJournal(t, stepped, nil)
		g.Unit("stepped.service").Wait(t, "inactive")
		assert.WithinDuration(t, before.Add(by), g.Clock(t), time.Minute)
	}
	stepped.After = g.JournalEnd(t)
	const slew, d = 500 * time.Millisecond, 1010 * time.Second // at half a millisecond a second
	before := aheadOfRaw(t, g)
	g.SlewClock(t, slew)
	g.Advance(t, d)
	gained := aheadOfRaw(t, g) - before
	assert.InDelta(t, slew.Seconds(), gained.Seconds(), 0.05, "seconds by which the slew moved the clock")
	g.ExpectNoEntry(t, stepped)
}

// aheadOfRaw returns how far the guest's wall clock is ahead of the one that no slew changes,
// CLOCK_MONOTONIC_RAW of clock_gettime(2), which is call 228 of amd64.
func aheadOfRaw(t *testing.T, g *vmtest.Guest) time.Duration {
	t.Helper()
	const script = `sub at { my $b = "\0" x 16; syscall(228, $_[0], $b) and die $!; my ($s, $ns) = unpack("qq", $b); $s * 1e9 + $ns }
my ($wall, $raw) = (at(0), at(4));
printf "%d", $wall - $raw;`
	ns, err := strconv.ParseInt(g.Run(t, "perl", "-e", script), 10, 64)
	require.NoError(t, err)
	return time.Duration(ns)
}

// A calendar timer follows the time zone, and a change of that starts what OnTimezoneChange=
// asks for. See systemd.timer(5), localtime(5).
func TestClockTimeZone(t *testing.T) {
	t.Parallel()
	g := withWallClock(t)
	g.CopyFS(t, os.DirFS("testdata/clock/zoneinfo"), "/usr/share/zoneinfo")
	err := g.Machine.SetTimeZone(t.Context(), "Europe/Nowhere")
	require.ErrorContains(t, err, `no time zone "Europe/Nowhere" in this guest: no file /usr/share/zoneinfo/Europe/Nowhere`)
	moved := vmtest.JournalQuery{By: "moved.service", Contains: "the time zone has changed"}
	g.ExpectNoEntry(t, moved)
	g.SetTimeZone(t, "Asia/Kolkata") // 5 h 30 min before UTC
	g.WaitJournal(t, moved, nil)
	noon := utc(2028, 2, 29, 6, 30, 0)
	g.SetClock(t, noon.Add(-time.Second))
	e := g.WaitJournal(t, vmtest.JournalQuery{By: "february.service", Contains: "february is over"}, nil)
	assert.False(t, e.Time.Before(noon), "it ran at %v", e.Time)
	assert.WithinDuration(t, noon, e.Time, 20*time.Second)
}

// A clock that no kernel takes is an error at once. One after 2038 is none, and timers work.
func TestClockOutOfRange(t *testing.T) {
	t.Parallel()
	g := withWallClock(t)
	before := g.Clock(t)
	for _, at := range []time.Time{utc(1969, 12, 31, 23, 59, 59), utc(2232, 12, 31, 0, 0, 0), utc(2263, 1, 1, 0, 0, 0), utc(9999, 1, 1, 0, 0, 0)} {
		assert.ErrorContains(t, g.Machine.SetClock(t.Context(), at), "its kernel takes times from 1970-01-01 to 2232-")
		_, err := vmtest.Launch(t.Context(), vmtest.Config{Clock: at})
		assert.ErrorContains(t, err, "its kernel takes times from 1970-01-01 to 2232-")
	}
	assert.ErrorContains(t, g.Machine.SetClock(t.Context(), time.Time{}), "cannot show 0001-01-01: its kernel takes times from")
	for _, by := range []time.Duration{290 * 365 * 24 * time.Hour, -100 * 365 * 24 * time.Hour, math.MaxInt64, math.MinInt64} {
		assert.ErrorContains(t, g.Machine.StepClock(t.Context(), by), "its kernel takes times from")
	}
	// The kernel's clock would have been before 1970 at the boot.
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(1, 0)} {
		assert.ErrorContains(t, g.Machine.SetClock(t.Context(), at), "set clock to "+at.UTC().Format(time.RFC3339)+": invalid argument: the kernel refuses a time at which its boot would be before 1970")
	}
	assert.WithinDuration(t, before, g.Clock(t), time.Minute, "a clock that no call has set")

	stepped := vmtest.JournalQuery{By: "stepped.service", Contains: "the clock was stepped", After: g.JournalEnd(t)}
	g.SetClock(t, utc(2038, 1, 19, 3, 14, 8))
	g.WaitJournal(t, stepped, nil)
	assert.WithinDuration(t, utc(2038, 1, 19, 3, 14, 8), g.Clock(t), time.Minute)
}

// A machine that boots with its clock three days ahead schedules a calendar timer by the clock
// as it is when that has been set right (systemd#16428).
func TestClockBootedInTheFuture(t *testing.T) {
	t.Parallel()
	const ahead = 3 * 24 * time.Hour
	begin := utc(2028, 2, 29, 11, 50, 0)
	g := vmtest.Start(t, vmtest.Config{ColdBoot: true, Clock: begin.Add(ahead)})
	g.ExpectEntry(t, vmtest.JournalQuery{Match: []string{"_TRANSPORT=kernel"}, Contains: "setting system clock to 2028-03-03T11:5"})
	g.SetClock(t, begin)
	g.CopyFS(t, os.DirFS("testdata/clock/wall"), "/etc/systemd/system")
	g.DaemonReload(t)
	g.Unit("quarter.timer").Start(t)
	var micros uint64
	g.Unit("quarter.timer").Property(t, "NextElapseUSecRealtime", &micros)
	noon := utc(2028, 2, 29, 12, 0, 0)
	assert.Equal(t, noon, time.UnixMicro(int64(micros)).UTC(), "when the timer elapses")
	g.SetClock(t, noon.Add(-time.Second))
	g.WaitJournal(t, vmtest.JournalQuery{By: "quarter.service", Contains: "a quarter of an hour is over"}, nil)
}

// A reboot keeps the clock: the next kernel begins with it.
func TestClockAcrossAReboot(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	at := utc(2028, 2, 29, 12, 0, 0)
	g.SetClock(t, at)
	require.NoError(t, g.Machine.Reboot(t.Context()))
	g.ExpectEntry(t, vmtest.JournalQuery{Match: []string{"_TRANSPORT=kernel"}, Contains: "setting system clock to 2028-02-29T12:"})
	assert.WithinDuration(t, at, g.Clock(t), 10*time.Minute)
}

// A timer whose night passed while the machine was off elapses at the next boot, which begins
// at the date that it is given. See Persistent= in systemd.timer(5).
func TestClockPersistentTimer(t *testing.T) {
	t.Parallel()
	evening := utc(2028, 2, 29, 20, 0, 0)
	config := vmtest.Config{Disk: vmtest.NewDisk(t, 0), Clock: evening}
	g := vmtest.Start(t, config)
	g.CopyFS(t, os.DirFS("testdata/clock/persistent"), unitDir(g))
	g.DaemonReload(t)
	g.EnableNow(t, "nightly.timer")
	run := vmtest.JournalQuery{By: "nightly.service", Contains: "the night is over"}
	g.ExpectNoEntry(t, run)
	g.Run(t, "sync")
	g.Kill(t)

	config.Clock = evening.AddDate(0, 0, 3)
	g = vmtest.Start(t, config)
	e := g.WaitJournal(t, run, nil)
	assert.WithinDuration(t, config.Clock, e.Time, time.Hour)
}
