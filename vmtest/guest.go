package vmtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// Guest is a Machine in the hands of a test: what goes wrong fails the test, and
// what a call opens is closed when the test ends. Pass each method the test or
// subtest that is to fail. The methods work in the clean-ups of a test, too: those that
// it registers after it got the Guest run before the machine is closed.
type Guest struct {
	// Machine is the machine itself, for what has no method here or is to return
	// its error.
	Machine *Machine
}

// Start gives a test a machine of its own whose systemd is "running", as Launch
// does, and closes it when the test ends. When the test has failed by then, it logs
// what the guest can tell of it: its failed units and its journal, or its console
// when it no longer answers.
//
// A test has one slot among the machines of this host, however many it starts;
// tests that call t.Parallel wait for theirs.
func Start(t testing.TB, config Config) *Guest {
	t.Helper()
	config, err := config.complete()
	if err != nil {
		t.Fatal(err)
	}
	return startGuest(t, config, func(ctx context.Context) (*Machine, error) { return launch(ctx, config) })
}

// startGuest is Start for a machine that launch returns.
func startGuest(t testing.TB, config Config, launch func(context.Context) (*Machine, error)) *Guest {
	t.Helper()
	ctx, cancel := testContext(t)
	defer cancel()
	if err := holdSlot(ctx, t, config); err != nil {
		t.Fatal(err)
	}
	m, err := launch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		t.Helper() // so that the evidence stands under the line that started the machine
		if t.Failed() {
			logEvidence(t, m)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Guest{Machine: m}
}

// evidenceTime is kept back at the end of a test's time for the evidence.
const evidenceTime = 20 * time.Second

// testContext ends with the test, or so long before the test binary's own
// deadline that there is time to say what the guest was doing. In a clean-up it ends
// by that deadline alone.
func testContext(t testing.TB) (context.Context, context.CancelFunc) {
	ctx := t.Context()
	if ctx.Err() != nil { // it ends just before the clean-ups begin (testing.T.Context)
		ctx = context.WithoutCancel(ctx)
	}
	if end, ok := testEnd(t); ok {
		return context.WithDeadlineCause(ctx, end.Add(-evidenceTime),
			fmt.Errorf("the test's time is up (go test -timeout) but for %v of evidence", evidenceTime))
	}
	return context.WithCancel(ctx)
}

// testEnd is the test binary's own deadline, if it has one.
func testEnd(t testing.TB) (time.Time, bool) {
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		return d.Deadline()
	}
	return time.Time{}, false
}

// opLimit is the longest that a call may take.
func (g *Guest) opLimit() deadline.Limit {
	return deadline.Limit{What: "not done", Time: g.Machine.config.OpTimeout, Name: "Config.OpTimeout"}
}

// do runs op within the test's time and the guest's OpTimeout, and fails the test
// with its error.
func (g *Guest) do(t testing.TB, op func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := testContext(t)
	defer cancel()
	ctx, cancel = deadline.Within(ctx, g.opLimit())
	defer cancel()
	if err := op(ctx); err != nil {
		t.Fatal(err)
	}
}

// get is do for an op that returns a value.
func get[T any](t testing.TB, g *Guest, op func(ctx context.Context) (T, error)) T {
	t.Helper()
	var value T
	g.do(t, func(ctx context.Context) (err error) {
		value, err = op(ctx)
		return err
	})
	return value
}

// Run runs a command that must exit with 0 and returns its standard output, as
// Machine.Run.
func (g *Guest) Run(t testing.TB, args ...string) string {
	t.Helper()
	return get(t, g, func(ctx context.Context) (string, error) { return g.Machine.Run(ctx, args...) })
}

// Exec runs a command to its end, whichever that is, and returns how it ended, as
// Machine.Exec.
func (g *Guest) Exec(t testing.TB, c Command) Result {
	t.Helper()
	return get(t, g, func(ctx context.Context) (Result, error) { return g.Machine.Exec(ctx, c) })
}

// Kill cuts the guest's power, as Machine.Kill.
func (g *Guest) Kill(t testing.TB) {
	t.Helper()
	g.Machine.Kill()
}

// Wait waits until the guest has gone and returns how, as Machine.Wait.
func (g *Guest) Wait(t testing.TB) Ending {
	t.Helper()
	return get(t, g, g.Machine.Wait)
}

// Reboot makes the guest reboot and waits until systemd is "running" again, as
// Machine.Reboot. BootTimeout bounds it instead of OpTimeout.
func (g *Guest) Reboot(t testing.TB) {
	t.Helper()
	g.doBoot(t, g.Machine.Reboot)
}

// SoftReboot makes the guest's user space reboot and waits until systemd is "running"
// again, as Machine.SoftReboot. BootTimeout bounds it instead of OpTimeout.
func (g *Guest) SoftReboot(t testing.TB) {
	t.Helper()
	g.doBoot(t, g.Machine.SoftReboot)
}

// Snapshot ends the guest and returns a snapshot of it, as Machine.Snapshot. It is closed
// when the test ends.
func (g *Guest) Snapshot(t testing.TB) *Snapshot {
	t.Helper()
	s := get(t, g, g.Machine.Snapshot)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// doBoot runs op, which has a timeout of its own, within the test's time.
func (g *Guest) doBoot(t testing.TB, op func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := testContext(t)
	defer cancel()
	if err := op(ctx); err != nil {
		t.Fatal(err)
	}
}
