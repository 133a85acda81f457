package vmtest

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"testing"
	"time"
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

// Start gives a test a fork of the snapshot, as the function Start gives it a
// machine.
func (s *Snapshot) Start(t testing.TB) *Guest {
	t.Helper()
	return startGuest(t, s.config, func(ctx context.Context) (*Machine, error) { return s.fork(ctx, s.config) })
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

// do runs op within the test's time and the guest's OpTimeout, and fails the test
// with its error.
func (g *Guest) do(t testing.TB, op func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := testContext(t)
	defer cancel()
	ctx, cancel = within(ctx, limit{"not done", g.Machine.config.OpTimeout, "Config.OpTimeout"})
	defer cancel()
	if err := op(ctx); err != nil {
		t.Fatal(err)
	}
}

// Run runs a command that must exit with 0, and returns its standard output.
func (g *Guest) Run(t testing.TB, args ...string) string {
	t.Helper()
	var r Result
	g.do(t, func(ctx context.Context) (err error) {
		r, err = g.Machine.Run(ctx, Command{Args: args})
		return err
	})
	return string(r.Stdout)
}

// Exec runs a command that may end as it likes, and returns how it did. It fails
// the test only when the command could not be run to its end.
func (g *Guest) Exec(t testing.TB, c Command) Result {
	t.Helper()
	var r Result
	g.do(t, func(ctx context.Context) (err error) {
		r, err = g.Machine.Run(ctx, c)
		if asExit(err) {
			return nil
		}
		return err
	})
	return r
}

// Copy copies a file or folder of the host, as Machine.Copy.
func (g *Guest) Copy(t testing.TB, hostPath, guestPath string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.Copy(ctx, hostPath, guestPath) })
}

// CopyFS copies all of fsys into a folder of the guest, as Machine.CopyFS.
func (g *Guest) CopyFS(t testing.TB, fsys fs.FS, guestDir string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.CopyFS(ctx, fsys, guestDir) })
}

// WriteFile makes or replaces a file in the guest.
func (g *Guest) WriteFile(t testing.TB, guestPath string, data []byte, mode fs.FileMode) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.WriteFile(ctx, guestPath, data, mode) })
}

// ReadFile returns the content of a file in the guest.
func (g *Guest) ReadFile(t testing.TB, guestPath string) []byte {
	t.Helper()
	var data []byte
	g.do(t, func(ctx context.Context) (err error) {
		data, err = g.Machine.ReadFile(ctx, guestPath)
		return err
	})
	return data
}

// InstallGo builds a Go command of the test's module for the guest and puts it at
// guestPath, as Machine.InstallGo. The build has all of the test's time, for it is the
// host's: OpTimeout is for the guest.
func (g *Guest) InstallGo(t testing.TB, pkg, guestPath string) {
	t.Helper()
	ctx, cancel := testContext(t)
	defer cancel()
	program, err := g.Machine.buildGo(ctx, pkg)
	if err != nil {
		t.Fatal(err)
	}
	g.do(t, func(ctx context.Context) error { return g.Machine.WriteFile(ctx, guestPath, program, programMode) })
}

// Dial connects to an address inside the guest, as Machine.Dial. The connection is
// closed when the test ends, if it is not by then. It has a deadline from the start,
// OpTimeout after the call or earlier where the test's own time ends, so that a daemon
// that never answers fails its test alone; SetDeadline sets another or, with the zero
// time, none.
func (g *Guest) Dial(t testing.TB, network, address string) net.Conn {
	t.Helper()
	var conn net.Conn
	g.do(t, func(ctx context.Context) (err error) {
		conn, err = g.Machine.Dial(ctx, network, address)
		return err
	})
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(g.deadline(t)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// deadline is when what begins now is to be over, on a host that is not slow.
func (g *Guest) deadline(t testing.TB) time.Time {
	at := time.Now().Add(limit{time: g.Machine.config.OpTimeout}.end().used())
	if end, ok := testEnd(t); ok && end.Add(-evidenceTime).Before(at) {
		at = end.Add(-evidenceTime)
	}
	return at
}

// Verify fails the test when systemd-analyze verify says anything about the unit
// files, named by path in the guest.
func (g *Guest) Verify(t testing.TB, paths ...string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.Verify(ctx, paths...) })
}

// DaemonReload makes systemd read its unit files again.
func (g *Guest) DaemonReload(t testing.TB) {
	t.Helper()
	g.do(t, g.Machine.DaemonReload)
}

// EnableNow enables and starts units, and returns what systemctl printed.
func (g *Guest) EnableNow(t testing.TB, units ...string) string {
	t.Helper()
	var out string
	g.do(t, func(ctx context.Context) (err error) {
		out, err = g.Machine.EnableNow(ctx, units...)
		return err
	})
	return out
}

// Disable disables units, and returns what systemctl printed.
func (g *Guest) Disable(t testing.TB, units ...string) string {
	t.Helper()
	var out string
	g.do(t, func(ctx context.Context) (err error) {
		out, err = g.Machine.Disable(ctx, units...)
		return err
	})
	return out
}

// Show returns properties of a unit as systemctl show prints them, as
// Machine.Show.
func (g *Guest) Show(t testing.TB, unit string, properties ...string) map[string]string {
	t.Helper()
	var values map[string]string
	g.do(t, func(ctx context.Context) (err error) {
		values, err = g.Machine.Show(ctx, unit, properties...)
		return err
	})
	return values
}

// WaitUnit waits until a unit's ActiveState or SubState is state, and fails the
// test at once when the unit fails instead.
func (g *Guest) WaitUnit(t testing.TB, unit, state string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.WaitUnit(ctx, unit, state) })
}

// Journal returns the journal entries that q selects, oldest first.
func (g *Guest) Journal(t testing.TB, q JournalQuery) []Entry {
	t.Helper()
	var entries []Entry
	g.do(t, func(ctx context.Context) (err error) {
		entries, err = g.Machine.Journal(ctx, q)
		return err
	})
	return entries
}

// WaitJournal returns the first entry, there already or still to come, that q
// selects and match accepts.
func (g *Guest) WaitJournal(t testing.TB, q JournalQuery, match func(Entry) bool) Entry {
	t.Helper()
	var entry Entry
	g.do(t, func(ctx context.Context) (err error) {
		entry, err = g.Machine.WaitJournal(ctx, q, match)
		return err
	})
	return entry
}

// Kill cuts the guest's power, as Machine.Kill. A machine that is started with the same
// Config.Disk then boots from what was synced.
func (g *Guest) Kill(t testing.TB) {
	t.Helper()
	if err := g.Machine.Kill(); err != nil {
		t.Fatal(err)
	}
}
