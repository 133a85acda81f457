package vmtest

import (
	"errors"
	"fmt"
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
}

func TestEvidenceBeginsWithTheVerdict(t *testing.T) {
	r := summary{
		title: "evidence",
		notes: []string{"the guest is slow"},
		failed: []journal.Failure{
			{Unit: journal.UnitID{Name: "a.service"}, Times: 5, Last: "status 217/USER"},
			{Unit: journal.UnitID{Name: "a.service", UID: "1000"}, Times: 1, Last: "resources"},
		},
		looks: map[string]systemd.Look{"a.service": {ActiveState: "activating", SubState: "auto-restart", Restarts: 4}},
		end:   indented("journal", []string{"line"}),
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
  | line`, r.String())
	empty := summary{title: "evidence"}
	assert.Equal(t, "evidence: nothing has failed there, and the journal has no line", empty.String())
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
	assert.False(t, part.overview(" of UID 7", systemd.Overview{Failed: []systemd.ListedUnit{{Name: "a.service"}}}, cause))
	assert.Equal(t, []string{"units of UID 7, in part: list jobs: link lost"}, part.notes)
	var whole summary
	assert.True(t, whole.overview("", systemd.Overview{}, nil))
	assert.Empty(t, whole.notes)
}
