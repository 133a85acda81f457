package scenarios

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// cleanups are those of a test that stands in for another one.
type cleanups []func()

// run runs them, the last first, as package testing does, until n are left.
func (c *cleanups) run(n int) {
	for len(*c) > n {
		last := len(*c) - 1
		clean := (*c)[last]
		*c = (*c)[:last] // one that calls FailNow is not called again
		clean()
	}
}

// failedT is a test that has failed. It keeps what is logged.
type failedT struct {
	testing.TB
	cleanups cleanups
	mu       sync.Mutex
	logged   strings.Builder
}

func (t *failedT) Failed() bool     { return true }
func (t *failedT) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *failedT) Log(args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintln(&t.logged, args...)
}

// evidence returns what is logged about a guest when a test that did work on it has
// failed.
func evidence(t *testing.T, work func(*vmtest.Guest)) string {
	t.Helper()
	return evidenceOf(t, vmtest.Config{}, work)
}

// evidenceOf is evidence with a guest that c describes.
func evidenceOf(t *testing.T, c vmtest.Config, work func(*vmtest.Guest)) string {
	t.Helper()
	failed := &failedT{TB: t}
	defer failed.cleanups.run(0)
	work(vmtest.Start(failed, c))
	failed.cleanups.run(1) // the last one gives up the slot
	return failed.logged.String()
}

// The evidence of a failed test begins with the units that failed, and why, whatever the
// guest's clock says and however often they were restarted. It has nothing from before
// the machine was forked.
func TestEvidence(t *testing.T) {
	t.Parallel()
	var noUser string
	text := evidence(t, func(g *vmtest.Guest) {
		noUser = noUserText(g)
		copyUnits(t, g, "testdata/evidence")
		g.Run(t, "date", "--set=2020-01-01")
		g.Exec(t, vmtest.Command{Args: []string{"systemctl", "start", "nobody.service"}})
		g.Unit("nobody.service").Wait(t, "failed") // given up
		g.Unit("no.socket").Start(t)
		g.Unit("yes.socket").Start(t)
		systemctl(t, g, "daemon-reexec")
	})
	lines := strings.Split(text, "\n")
	require.Greater(t, len(lines), 2)
	assert.Contains(t, lines[0], "evidence from the guest (")
	assert.Regexp(t, `^nobody\.service failed 5 times: status 217/USER; it is failed \(failed\), restarts: \d$`, lines[1])
	assert.NotContains(t, text, "nobody.service loaded failed failed", "the first lines say that")
	assert.Contains(t, text, noUser)
	// A start that takes over a second of CPU time, as on a starved host, has a line more.
	assert.Regexp(t, `\(last \d+ lines repeated (once more|[234] more times)\)`, text)
	assert.Contains(t, text, "no.socket active (listening), result success; listens on 127.0.0.1:9091 (Stream)\n", "no counters for Accept=no")
	assert.Contains(t, text, "yes.socket active (listening), result success; listens on 127.0.0.1:9092 (Stream), /run/yes (Stream); accepted 0, connected 0\n")
	assert.NotContains(t, text, "Startup finished", "from before the fork")
	assert.NotContains(t, text, "sync journal", "of this framework's own making")
	assert.NotContains(t, text, "console, last")
	if t.Failed() {
		t.Log(text)
	}
}
