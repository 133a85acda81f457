package scenarios

import (
	"context"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
)

// freezePID1 stops PID 1, as cgroups(7) stops any process.
const freezePID1 = `freeze=/sys/fs/cgroup/init.scope/cgroup.freeze
test -e $freeze || freeze=/sys/fs/cgroup/unified/init.scope/cgroup.freeze
echo 1 >$freeze`

// Each call that asks a PID 1 which does not answer ends with its context, and says that.
func TestUnitCallsOfAStuckPID1(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/waits")
	g.Unit("few.socket").Start(t)
	g.Run(t, "sh", "-c", freezePID1)
	u := g.Machine.Unit("few.socket")
	var calls sync.WaitGroup
	for name, call := range map[string]func(context.Context) error{
		"state":     func(ctx context.Context) error { _, err := u.State(ctx); return err },
		"property":  func(ctx context.Context) error { return u.Property(ctx, "NAccepted", new(int)) },
		"wait":      func(ctx context.Context) error { return u.WaitProperty(ctx, "NAccepted", 1) },
		"refused":   func(ctx context.Context) error { return u.WaitProperty(ctx, "NRefused", 1) },
		"settled":   func(ctx context.Context) error { _, err := u.WaitSettled(ctx); return err },
		"instances": func(ctx context.Context) error { return g.Machine.Unit("few@.service").WaitInstances(ctx, 1) },
		"enable":    func(ctx context.Context) error { _, err := g.Machine.Enable(ctx, "few.socket"); return err },
		"reload":    g.Machine.DaemonReload,
		"drop-in":   func(ctx context.Context) error { return u.WriteDropIn(ctx, "a.conf", "") },
		"transient": func(ctx context.Context) error { _, err := g.Machine.StartTransient(ctx, "a.service"); return err },
		"reset":     u.ResetFailed,
	} {
		calls.Go(func() {
			ctx, cancel := vmtest.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			begin := time.Now()
			err := call(ctx)
			assert.ErrorIs(t, err, context.DeadlineExceeded, name)
			assert.ErrorContains(t, err, "PID 1 did not within ", name)
			assert.Less(t, time.Since(begin), patience, name)
		})
	}
	calls.Wait()
}

// Unit files that no person writes: with a line that systemd does not read, with a NUL, and
// without an end. The calls report what systemd makes of them. See systemd.syntax(7).
func TestUnusualUnitFiles(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	const service = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true"
	long := "[Unit]\nDescription=" + strings.Repeat("x", 1<<20) + "\n"
	for name, text := range map[string]string{"long": long + service, "nul": "[Unit]\nDescription=before\x00after\n" + service} {
		g.WriteFile(t, unitFile(g, name+".service"), []byte(text), 0o644)
	}
	s := g.Unit("long.service").State(t)
	assert.Equal(t, "error", s.LoadState)
	assert.Contains(t, s.LoadError, "No buffer space available")
	err := g.Machine.Unit("long.service").Start(t.Context())
	assert.ErrorContains(t, unitError(t, err), "No buffer space available")

	// A NUL ends a line, and the last line needs no end.
	nul := g.Unit("nul.service")
	nul.Start(t)
	var description string
	nul.Property(t, "Description", &description)
	assert.Equal(t, "before", description)

	// systemd would drop the first and read the second as two lines.
	for _, text := range []string{long, "[Unit]\nDescription=a\x00b\n"} {
		assert.ErrorIs(t, g.Machine.Unit("nul.service").WriteDropIn(t.Context(), "a.conf", text), fs.ErrInvalid)
	}
	var dropIns []string
	nul.Property(t, "DropInPaths", &dropIns)
	assert.Empty(t, dropIns)
}
