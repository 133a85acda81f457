package vmtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/slots"
)

// Guest is a [Machine] in the hands of a test. Its methods are those of the Machine that
// can fail, with a testing.TB instead of a context: an error fails the test, and what a
// call opens is closed when the test ends. Pass each method the test or subtest that is to fail. The
// methods also work in a test's clean-ups that are registered after Start.
//
// On another goroutine than a test's, where t.FailNow must not be called, a method marks
// the test as failed and returns the zero value, so that nothing waits for it forever.
type Guest struct {
	// Machine is the machine itself, for calls that are to return their error.
	Machine *Machine

	queued time.Duration // how long the test waited for its slot
}

// Start gives a test a machine of its own whose systemd is "running", as Launch does, and
// closes it when the test ends. If the test has failed by then, it logs evidence from the
// guest: its failed units and its journal, or its console if it no longer answers. With
// $VMTEST_KEEP=1 it then keeps the machine for a person to look at.
//
// A test has one slot among the machines of this host, however many machines it starts.
// Tests that call t.Parallel wait for theirs.
//
// Start skips the test under go test -short and with $VMTEST_SKIP=1.
func Start(t testing.TB, config Config) *Guest {
	t.Helper()
	skip(t)
	config, err := config.forTest(t).complete()
	if err != nil {
		t.Fatal(err)
	}
	return startGuest(t, config, launch)
}

// startGuest is Start for a machine that launch returns.
func startGuest(t testing.TB, config Config, launch launcher) *Guest {
	t.Helper()
	g := new(Guest)
	attrImage(t, config)
	ctx, cancel := testContext(t)
	defer cancel()
	slot, err := acquireSlot(ctx, t.Name(), config)
	if err != nil {
		t.Fatalf("start machine: %v", err)
	}
	t.Cleanup(func() {
		if err := slot.Release(); err != nil {
			t.Error(err)
		}
	})
	g.queued = slot.Queued
	if ctx.Err() != nil {
		t.Fatalf("start machine: waited %v for a slot, and no time is left for the test (go test -timeout)", deadline.Brief(g.queued))
	}
	g.Machine, err = launch.inNetworks(slots.WithHold(ctx, slot), config)
	if err != nil {
		t.Fatal(g.withQueue(err, ctx))
	}
	g.Machine.steps.SetOver(t.Failed)
	attrMachine(t, g, time.Now())
	inTime := watchTime(t, g.Machine)
	t.Cleanup(func() {
		t.Helper() // puts the evidence under the line that started the machine
		inTime()
		if !t.Failed() && !t.Skipped() {
			g.judge(t)
		}
		if t.Failed() {
			logEvidence(t, g.Machine)
			if keepWanted() {
				g.Machine.keep(t)
			}
		}
		if err := g.Machine.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// withQueue adds to an error of a test whose time is up how much of it the queue took.
func (g *Guest) withQueue(err error, ctx context.Context) error {
	if ctx.Err() == nil || g.queued < time.Second {
		return err
	}
	return fmt.Errorf("%w; the test waited %v for a slot", err, deadline.Brief(g.queued))
}

// testContext returns a context that ends with the test, and early enough before the test
// binary's own deadline to leave time for evidence. In a clean-up only that deadline ends
// it.
func testContext(t testing.TB) (context.Context, context.CancelFunc) {
	ctx := t.Context()
	if ctx.Err() != nil { // it ends just before the clean-ups begin (testing.T.Context)
		ctx = context.WithoutCancel(ctx)
	}
	return deadline.BeforeEnd(ctx)
}

// opLimit returns the longest that a call may take.
func (g *Guest) opLimit() deadline.Limit {
	return deadline.Limit{What: "not done", Time: g.Machine.config.OpTimeout, Name: "Config.OpTimeout", Pace: g.Machine.vm.Pace}
}

// do runs op within the test's time and the guest's OpTimeout, and fails the test with
// its error.
func (g *Guest) do(t testing.TB, op func(ctx context.Context) error) {
	t.Helper()
	g.bounded(t, g.opLimit(), op)
}

// doBoot is do for an op that Config.BootTimeout bounds.
func (g *Guest) doBoot(t testing.TB, op func(ctx context.Context) error) {
	t.Helper()
	g.bounded(t, deadline.Limit{}, op)
}

// bounded is do with any limit; a zero one is none.
func (g *Guest) bounded(t testing.TB, l deadline.Limit, op func(ctx context.Context) error) {
	t.Helper()
	test, cancel := testContext(t)
	defer cancel()
	ctx := test
	if l.Time != 0 {
		ctx, cancel = deadline.Within(test, l)
		defer cancel()
	}
	began := time.Now()
	err := op(ctx)
	g.Machine.stepOf(began, err)
	if err != nil {
		g.Machine.shown.add(err)
		fail(t, g.withQueue(err, test))
	}
}

// get is do for an op that returns a value, which is zero if op fails.
func get[T any](t testing.TB, g *Guest, op func(ctx context.Context) (T, error)) (value T) {
	t.Helper()
	g.do(t, func(ctx context.Context) error {
		v, err := op(ctx)
		if err == nil {
			value = v
		}
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

// WaitEnding waits until the guest has gone and returns how, as Machine.WaitEnding.
func (g *Guest) WaitEnding(t testing.TB) Ending {
	t.Helper()
	return get(t, g, g.Machine.WaitEnding)
}

// Reboot makes the guest reboot and waits until systemd is "running" again, as
// Machine.Reboot. Config.BootTimeout bounds it, and not OpTimeout.
func (g *Guest) Reboot(t testing.TB) {
	t.Helper()
	g.doBoot(t, g.Machine.Reboot)
}

// SoftReboot makes the guest's user space reboot and waits until systemd is "running"
// again, as Machine.SoftReboot. Config.BootTimeout bounds it, and not OpTimeout.
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
		if s == nil {
			return
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
