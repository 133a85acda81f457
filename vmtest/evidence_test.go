package vmtest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDescribeSockets(t *testing.T) {
	assert.Equal(t,
		"demo.socket active (listening), result success; listens on 127.0.0.1:9091 (Stream), [::1]:9091 (Stream); accepted 1, connected 0\n"+
			"run.socket failed (failed), result resources; listens on /run/x (Stream); accepted 0, connected 0",
		describeSockets(`Id=dbus.socket
FragmentPath=/usr/lib/systemd/system/dbus.socket
Listen=/run/dbus/system_bus_socket (Stream)

Id=demo.socket
ActiveState=active
SubState=listening
Result=success
Listen=127.0.0.1:9091 (Stream)
Listen=[::1]:9091 (Stream)
NAccepted=1
NConnections=0
FragmentPath=/etc/systemd/system/demo.socket

Id=run.socket
ActiveState=failed
SubState=failed
Result=resources
Listen=/run/x (Stream)
NAccepted=0
NConnections=0
FragmentPath=/run/systemd/system/run.socket
`))
	assert.Empty(t, describeSockets(""))
}

func TestEvidenceOfLostGuest(t *testing.T) {
	var b strings.Builder
	gone := &GuestError{Image: "debian-13", Doing: "lost", Err: errors.New("the guest powered off"), Console: []string{"line"}}
	assert.False(t, answered(&b, "failed units", fmt.Errorf("run systemctl: %w", gone)))
	assert.Equal(t, "\nfailed units: the guest powered off", b.String())
	assert.True(t, answered(&b, "jobs", fmt.Errorf("run systemctl: %w", &ExitError{ExitCode: 1})))
}

func TestIndentedEvidence(t *testing.T) {
	var b strings.Builder
	indented(&b, "jobs", " \n")
	assert.Empty(t, b.String(), "empty section")
	indented(&b, "jobs", "one\ntwo\n")
	assert.Equal(t, "\njobs:\n  | one\n  | two", b.String())
}
