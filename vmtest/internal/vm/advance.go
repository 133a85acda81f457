package vm

import (
	"context"
	"fmt"
	"time"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

const (
	// An idle guest advances in at most mostLeaps, or in leaps of longestLeap. They bound how
	// long it takes, and how late a timer of the guest can be.
	mostLeaps   = 1800
	longestLeap = 10 * time.Second
	// shortestLeap is for a guest whose processors have no timer set.
	shortestLeap = time.Millisecond
	// A guest that ran for workTime has begun something, and its kernel waits for its own ticks
	// then (RCU). So exactSteps follow, from timer to timer, before it leaps again.
	workTime   = 5 * time.Millisecond
	exactSteps = 20
	// mostSpent is how often a timer that has run out is seen before it counts as unused.
	mostSpent = 20
	// mostReadings is how often the clock is read to prove that it is one.
	mostReadings = 10
)

// Advance lets d pass in the guest, by its monotonic and its wall clock, in much less time.
// Whenever all processors are idle, it moves QEMU's clock to when the first of their timers
// runs out, or by one leap if that is longer, and lets the guest run until it is idle again.
// So what is due happens in order, and at most one leap late. Timers of the kernel's own,
// which run out some nine times a second, would make an hour without leaps take over a minute.
//
// It needs a QEMU that emulates: with KVM the clock is the kernel's. See qemu.Clock.
func (m *Machine) Advance(ctx context.Context, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("advance %s by %v: time does not go back", m.spec.image(), d)
	}
	if accel := m.spec.Files.Accel; accel == qemu.KVM {
		return &host.Error{
			Cause: "Advance needs emulation: with KVM the host's kernel keeps the guest's clock",
			Cure:  "set VMTEST_ACCEL=tcg",
			Check: host.KVM,
		}
	}
	if arch := m.spec.Files.Image.Arch; arch == "arm64" {
		return fmt.Errorf("advance %s: the clock of a guest of %s cannot be set (that of amd64 can)", m.spec.image(), arch)
	}
	release, err := m.hold(ctx, "advance")
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	a := advance{m: m, stops: m.events.now().stops, leap: max(min(d/mostLeaps, longestLeap), shortestLeap)}
	err = a.run(ctx, d)
	if resumed := a.end(ctx); err == nil {
		err = resumed
	}
	if err != nil {
		err = fmt.Errorf("advance %s by %v (%v have passed): %w", m.spec.image(), d, a.passed.Round(time.Millisecond), err)
	}
	return m.Explain(ctx, "advance", err)
}

// advance is an advance in progress.
type advance struct {
	m      *Machine
	stops  int           // how often the guest has been stopped
	cpus   []int         // threads of QEMU's
	leap   time.Duration // what passes at once at least
	ran    time.Duration // the processors did, until the last leap
	exact  int           // steps to come without a leap
	begin  qemu.Reading
	passed time.Duration // by the guest's clock since begin, until it was last stopped

	stopped bool          // the guest is
	noted   time.Duration // of passed, when the guest last went on
	notedAt time.Time     // by the host's clock
}

// run leaves the guest stopped, unless it fails while the guest runs.
func (a *advance) run(ctx context.Context, d time.Duration) error {
	if err := a.stop(ctx); err != nil {
		return err
	}
	a.notedAt = time.Now()
	answer := a.m.askMonitor(ctx)
	if a.cpus = answer.threads; answer.err != nil {
		return answer.err
	}
	clock, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer clock.Close()
	now, err := a.read(clock)
	if err != nil {
		return err
	}
	for spent := 0; a.passed < d; {
		p, err := a.m.processors(ctx)
		if err != nil {
			return err
		}
		if spent++; !p.spent {
			spent = 0
		}
		if p.idle && (!p.spent || spent > mostSpent) {
			spent = 0
			step := min(max(p.next, a.leapNow()), d-a.passed)
			if err := clock.Write(now.Later(step)); err != nil {
				return err
			}
			a.m.clock.advanced.Add(int64(step))
			a.passed += step
		}
		if err := a.letRun(ctx); err != nil {
			return err
		}
		if now, err = a.read(clock); err != nil {
			return err
		}
	}
	return nil
}

// read reads the clock of the stopped guest.
func (a *advance) read(clock *qemu.Clock) (qemu.Reading, error) {
	now, err := clock.Read()
	if err != nil {
		return now, err
	}
	if a.begin == (qemu.Reading{}) {
		a.begin = now
	}
	a.passed = now.Elapsed - a.begin.Elapsed
	return now, nil
}

// leapNow returns what passes at once at least, as the guest's work since the last time has it.
func (a *advance) leapNow() time.Duration {
	var ran time.Duration
	for _, u := range a.m.usages(a.cpus) {
		ran += u.Ran
	}
	if ran-a.ran > workTime {
		a.exact = exactSteps
	}
	a.ran = ran
	if a.exact == 0 {
		return a.leap
	}
	a.exact--
	return shortestLeap
}

// open finds the clock, and proves that it is the guest's by what a device shows and by how
// it goes on.
func (a *advance) open(ctx context.Context) (*qemu.Clock, error) {
	shows, err := a.m.powerTimer(ctx)
	if err != nil {
		return nil, err
	}
	clock, err := a.m.process.OpenClock(shows)
	if err != nil {
		return nil, err
	}
	if err := proveClock(func() (qemu.Reading, error) { return a.read(clock) }, func() error { return a.letRun(ctx) }); err != nil {
		clock.Close()
		return nil, err
	}
	return clock, nil
}

// proveClock lets the guest run until the clock has gone on as one does. QEMU reads the clock and
// the ticks one after the other when the guest stops and when it goes on, so one interval proves
// nothing if QEMU was preempted in between.
func proveClock(read func() (qemu.Reading, error), letRun func() error) error {
	before, err := read()
	if err != nil {
		return err
	}
	for reading := 1; ; reading++ {
		if err := letRun(); err != nil {
			return err
		}
		after, err := read()
		if err != nil {
			return err
		}
		if after.Follows(before) {
			return nil
		}
		if reading == mostReadings {
			return fmt.Errorf("%w (read %d times, it went at last from %+v to %+v)", qemu.ErrNoClock, reading, before, after)
		}
		before = after
	}
}

// letRun lets the guest run until its processors are idle, or nearly so: a thread also sleeps
// for other reasons. It leaves the guest stopped, unless ctx ends before they are.
func (a *advance) letRun(ctx context.Context) error {
	if err := a.resume(ctx); err != nil {
		return err
	}
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("wait until the guest's processors are idle: %w", context.Cause(ctx))
		}
		if a.m.process.Asleep(a.cpus) {
			return a.stop(ctx)
		}
	}
}

func (a *advance) stop(ctx context.Context) error {
	err := a.m.monitor.Execute(ctx, "stop", nil, nil, nil)
	if err == nil {
		a.stops++
		a.stopped = true
	}
	return err
}

// resume lets the guest run. From now on its clock goes as the host's does.
func (a *advance) resume(ctx context.Context) error {
	if a.stopped {
		a.note()
	}
	err := a.m.monitor.Execute(ctx, "cont", nil, nil, nil)
	if err == nil {
		a.stopped = false
	}
	return err
}

// note records how far the clock of the stopped guest has gone ahead of the host's, which went on
// while the guest stood.
func (a *advance) note() {
	now := time.Now()
	a.m.clock.move(a.passed - a.noted - now.Sub(a.notedAt))
	a.noted, a.notedAt = a.passed, now
}

// end lets the guest run on, also after an error, and waits until the events have arrived: a
// snapshot waits for the next one.
func (a *advance) end(ctx context.Context) error {
	ctx, cancel := deadline.Within(deadline.ForEvidence(ctx), deadline.Limit{What: "not done", Time: exitTime})
	defer cancel()
	if err := a.resume(ctx); err != nil {
		return err
	}
	return a.m.events.wait(ctx, func(seen events) bool { return seen.stops >= a.stops })
}
