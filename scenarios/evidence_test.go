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

// failedT is a test that has failed. It keeps what is logged.
type failedT struct {
	testing.TB
	cleanups []func()
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
	failed := &failedT{TB: t}
	defer func() {
		for len(failed.cleanups) > 0 { // one that is left is left by a FailNow
			last := len(failed.cleanups) - 1
			clean := failed.cleanups[last]
			failed.cleanups = failed.cleanups[:last]
			clean()
		}
	}()
	g := vmtest.Start(failed, vmtest.Config{})
	work(g)
	// The last one gives up the slot.
	for len(failed.cleanups) > 1 {
		last := len(failed.cleanups) - 1
		clean := failed.cleanups[last]
		failed.cleanups = failed.cleanups[:last]
		clean()
	}
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
		systemctl(t, g, "start", "no.socket", "yes.socket")
		systemctl(t, g, "daemon-reexec")
	})
	lines := strings.Split(text, "\n")
	require.Greater(t, len(lines), 2)
	assert.Contains(t, lines[0], "evidence from the guest (")
	assert.Regexp(t, `^nobody\.service failed 5 times: status 217/USER; it is failed \(failed\), restarts: \d$`, lines[1])
	assert.Contains(t, text, "nobody.service loaded failed failed")
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
