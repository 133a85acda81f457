package vmtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

func TestSocketsInEvidence(t *testing.T) {
	s := systemd.Socket{
		Name: "demo.socket", ActiveState: "active", SubState: "listening", Result: "success",
		Listen: []string{"127.0.0.1:9091 (Stream)", "[::1]:9091 (Stream)"},
		Accept: true, Accepted: 1,
	}
	const socket = "demo.socket active (listening), result success; listens on 127.0.0.1:9091 (Stream), [::1]:9091 (Stream)"
	assert.Equal(t, socket+"; accepted 1, connected 0", socketLine(s))
	s.Accept = false
	assert.Equal(t, socket, socketLine(s), "systemd counts connections only for Accept=yes")
}

func TestUnitsInEvidence(t *testing.T) {
	failed := systemd.ListedUnit{Name: "a.service", LoadState: "loaded", ActiveState: "failed", SubState: "failed", Description: "A b"}
	assert.Equal(t, []string{"a.service loaded failed failed A b"}, linesOf([]systemd.ListedUnit{failed}, failedLine))
	assert.Equal(t, "7 a.service start waiting", jobLine(systemd.Job{ID: 7, Unit: "a.service", Type: "start", State: "waiting"}))
	assert.Empty(t, lookText(systemd.Look{}))
	assert.Equal(t, "; it is activating (start), and has not sent READY=1 (Type=notify)",
		lookText(systemd.Look{ActiveState: "activating", SubState: "start", Type: "notify"}))
}

func TestEvidenceBeginsWithTheVerdict(t *testing.T) {
	r := summary{
		title: "evidence",
		notes: []string{"the guest is slow"},
		failed: []journal.Failure{
			{Unit: journal.UnitID{Name: "a.service"}, Times: 5, Last: "status 217/USER"},
			{Unit: journal.UnitID{Name: "a.service", UID: "1000"}, Times: 1, Last: "resources"},
		},
		looks:        map[string]systemd.Look{"a.service": {ActiveState: "activating", SubState: "auto-restart", Restarts: 4}},
		entries:      []journal.Entry{{Identifier: "cron", Message: "line"}, {Identifier: "cron", Message: "twice"}},
		journalTitle: "journal",
	}
	r.section("jobs", nil)
	r.section("failed units", []string{"b.socket", "\x1b[2Jc.service"})
	assert.Equal(t, `evidence
the guest is slow
a.service failed 5 times: status 217/USER; it is activating (auto-restart), restarts: 4
a.service of user 1000 failed once: resources
failed units:
  | b.socket
  | c.service
journal:
  | 00:00:00.000 cron: line
  | 00:00:00.000 cron: twice`, r.String())
	var s shown
	s.add(errors.New("wait for a.service\n  | 00:00:00.000 cron: twice"))
	assert.True(t, strings.HasSuffix(r.without(&s), `
journal, without the lines above:
  | 00:00:00.000 cron: line`), "the error of the test has shown it")
	empty := summary{title: "evidence"}
	assert.Equal(t, "evidence: nothing has failed there, and the journal has no more lines", empty.String())
}

// What the kernel says about its clock takes no place in a report that is clipped.
func TestEvidenceWithoutTheClock(t *testing.T) {
	kernel := map[string][][]byte{"_TRANSPORT": {[]byte("kernel")}, "SYSLOG_FACILITY": {[]byte("0")}}
	var r summary
	for i := range 12 {
		r.entries = append(r.entries, journal.Entry{Identifier: "kernel", Message: fmt.Sprintf("line %d", i), Fields: kernel})
	}
	quiet := r.String()
	for i, message := range []string{
		"hrtimer: interrupt took 1234567 ns", "clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable",
		"tsc: Marking TSC unstable due to clocksource watchdog", "TSC found unstable after boot", "sched_clock: Marking unstable (1, 2)<-(3, 4)",
	} {
		r.entries = slices.Insert(r.entries, 2*i, journal.Entry{Identifier: "kernel", Message: message, Fields: kernel})
	}
	assert.Equal(t, quiet, r.String())
	r.entries = []journal.Entry{{Identifier: "hrtimer", Message: "hrtimer: of a program"}}
	assert.Contains(t, r.String(), "hrtimer: of a program")
}

func TestEvidenceOfAGuestThatIsGone(t *testing.T) {
	var r summary
	gone := &GuestError{Image: "debian-13", Doing: "lost", Err: errors.New("the guest powered off"), Console: []string{"line"}}
	r.missing("failed units", fmt.Errorf("run systemctl: %w", gone))
	assert.Equal(t, []string{"failed units: the guest powered off"}, r.notes)
}

// What was read before an error is shown, and the note of the error does not deny it.
func TestUnitsInPart(t *testing.T) {
	cause := errors.New("list jobs: link lost")
	var none, part summary
	assert.False(t, none.overview("", systemd.Overview{}, cause))
	assert.Equal(t, []string{"units: list jobs: link lost"}, none.notes)
	assert.False(t, part.overview("7", systemd.Overview{Failed: []systemd.ListedUnit{{Name: "a.service"}}}, cause))
	assert.Equal(t, []string{"units of UID 7, in part: list jobs: link lost"}, part.notes)
	var above summary // what failed according to the journal
	above.failed = []journal.Failure{{Unit: journal.UnitID{Name: "a.service"}}}
	above.overview("", systemd.Overview{Failed: []systemd.ListedUnit{{Name: "a.service"}}}, nil)
	assert.Empty(t, strings.Join(above.parts, ""), "it is not said twice")
	var whole summary
	assert.True(t, whole.overview("", systemd.Overview{}, nil))
	assert.Empty(t, whole.notes)
}
