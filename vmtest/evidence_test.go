package vmtest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

func TestSocketsInEvidence(t *testing.T) {
	p := map[string]any{
		"Id": "demo.socket", "ActiveState": "active", "SubState": "listening", "Result": "success",
		"Listen": [][]any{{"Stream", "127.0.0.1:9091"}, {"Stream", "[::1]:9091"}},
		"Accept": true, "NAccepted": uint32(1), "NConnections": uint32(0),
	}
	const socket = "demo.socket active (listening), result success; listens on 127.0.0.1:9091 (Stream), [::1]:9091 (Stream)"
	assert.Equal(t, socket+"; accepted 1, connected 0", describeSocket(p))
	p["Accept"] = false
	assert.Equal(t, socket, describeSocket(p), "systemd counts connections only for Accept=yes")
	assert.True(t, ofTest("/run/systemd/system/demo.socket"))
	assert.False(t, ofTest("/usr/lib/systemd/system/dbus.socket"))
}

func TestEvidenceBeginsWithTheVerdict(t *testing.T) {
	r := summary{
		title:  "evidence",
		notes:  []string{"the guest is slow"},
		failed: []systemd.Failure{{Unit: "a.service", Times: 5, Last: "status 217/USER"}, {Unit: "b.socket", Times: 1, Last: "resources"}},
		states: map[string]unitLook{"a.service": {active: "activating", sub: "auto-restart", restarts: 4}},
		end:    indented("journal", []string{"line"}),
	}
	r.section("jobs", nil)
	r.section("failed units", []string{"b.socket", "\x1b[2Jc.service"})
	assert.Equal(t, `evidence
the guest is slow
a.service failed 5 times: status 217/USER; it is activating (auto-restart), restarts: 4
b.socket failed once: resources
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
