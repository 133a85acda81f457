package scenarios

import (
	"fmt"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
)

// judgedT is a test that keeps its errors instead of failing.
type judgedT struct {
	testing.TB
	cleanups cleanups
	mu       sync.Mutex
	errors   strings.Builder
}

func (t *judgedT) Failed() bool     { return t.text() != "" }
func (t *judgedT) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *judgedT) Error(args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintln(&t.errors, args...)
}

func (t *judgedT) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.errors.String()
}

// judged returns the errors of a test that did work on a guest and was content.
func judged(t *testing.T, work func(*judgedT, *vmtest.Guest)) string {
	t.Helper()
	return judgedOf(t, func(t testing.TB) *vmtest.Guest { return vmtest.Start(t, vmtest.Config{}) }, work)
}

// judgedOf is judged for a guest that start returns.
func judgedOf(t *testing.T, start func(testing.TB) *vmtest.Guest, work func(*judgedT, *vmtest.Guest)) string {
	t.Helper()
	of := &judgedT{TB: t}
	defer of.cleanups.run(0)
	work(of, start(of))
	of.cleanups.run(1) // the last one gives up the slot
	return of.text()
}

// A guest with which nothing happens has nothing unexpected, in any image.
func TestNothingUnexpected(t *testing.T) {
	t.Parallel()
	assert.Empty(t, judged(t, func(t *judgedT, g *vmtest.Guest) {
		g.DaemonReload(t)
		g.Run(t, "systemctl", "daemon-reexec")
	}))
}

// misbehave makes units fail in a guest in several ways.
func misbehave(t testing.TB, g *vmtest.Guest) {
	for name, lines := range map[string]string{
		"fails.service":  "[Service]\nExecStart=/bin/sh -c 'exit 3'\n",
		"dumps.service":  "[Service]\nLimitCORE=infinity\nExecStart=/bin/sh -c 'kill -SEGV $$$$'\n",
		"errs.service":   "[Service]\nType=oneshot\nExecStart=/bin/echo '<3>cannot serve'\n",
		"cycle1.service": "[Unit]\nAfter=cycle2.service\nWants=cycle2.service\n[Service]\nType=oneshot\nExecStart=true\n",
		"cycle2.service": "[Unit]\nAfter=cycle1.service\n[Service]\nType=oneshot\nExecStart=true\n",
	} {
		g.WriteFile(t, unitFile(g, name), []byte(lines), 0o644)
	}
	for _, unit := range []string{"fails.service", "dumps.service", "errs.service", "cycle1.service"} {
		g.Exec(t, vmtest.Command{Args: []string{"systemctl", "start", unit}})
	}
	g.WaitJournal(t, vmtest.JournalQuery{About: "dumps.service", Match: []string{"UNIT_RESULT=core-dump"}}, nil)
}

// What a test did not announce fails it, with a line for each.
func TestUnexpected(t *testing.T) {
	t.Parallel()
	text := judged(t, func(t *judgedT, g *vmtest.Guest) { misbehave(t, g) })
	for _, want := range []string{
		"fails.service failed once: status 3/NOTIMPLEMENTED",
		"dumps.service failed once: signal 11/SEGV, core dumped",
		"errs.service logged an error: ",
		"echo", "cannot serve",
		"systemd dropped a job: ",
	} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "evidence from the guest", "that is logged, and not an error")
}

// What it announced does not, and an announcement that did not come true does.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	text := judged(t, func(t *judgedT, g *vmtest.Guest) {
		g.AnnounceFailure(t, "fails.service")
		g.AnnounceFailure(t, "dumps.service")
		g.AnnounceFailure(t, "other.service")
		g.AnnounceEntry(t, vmtest.JournalQuery{By: "errs.service", Contains: "cannot serve"})
		g.AnnounceEntry(t, vmtest.JournalQuery{Contains: "ordering cycle", Match: []string{"_PID=1"}})
		misbehave(t, g)
	})
	assert.Contains(t, text, "\n  | other.service did not fail, as AnnounceFailure announced\n")
	assert.Equal(t, 2, strings.Count(text, "\n"), "%s", text)
}

// Units that a Setup copies are under test in each fork, of a kept template as well.
func TestUnexpectedInATemplate(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "errs"} {
		template := vmtest.Template{Name: name, Setup: func(t testing.TB, g *vmtest.Guest) {
			g.CopyFS(t, fstest.MapFS{"errs.service": {Mode: 0o644, Data: []byte("[Service]\nType=oneshot\nExecStart=/bin/echo '<3>cannot serve'\n")}}, path.Dir(unitFile(g, "x")))
		}}
		text := judgedOf(t, template.Start, func(t *judgedT, g *vmtest.Guest) {
			g.Run(t, "systemctl", "start", "errs.service")
		})
		assert.Contains(t, text, "errs.service logged an error: ", "of the template %q", name)
	}
}
