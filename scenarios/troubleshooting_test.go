package scenarios

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A port that is in use: the socket unit fails with Result=resources and its
// journal names the address; once the port is free, a start suffices. See
// systemd.socket(5), ListenStream=, and bind(2), EADDRINUSE.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/port-in-use")
	// Nothing is wrong with the files.
	g.Verify(t, unitFile(g, echoSocket), unitFile(g, "holder.socket"))
	g.Unit("holder.socket").Start(t)

	err := g.Machine.Unit(echoSocket).Start(t.Context())
	assert.Equal(t, "failed", unitError(t, err).JobResult, "%v", err)
	assertShow(t, g, echoSocket, properties{"ActiveState": "failed", "SubState": "failed", "Result": "resources"})
	assertJournal(t, g, echoSocket, "listening socket ("+echoAddress+")")
	assertJournal(t, g, echoSocket, "Failed with result 'resources'.")
	// From a process that systemd forks to listen, and that ends at once.
	assertJournal(t, g, echoSocket, "Failed to create listening socket ("+echoAddress+"): Address already in use")
	assertShow(t, g, "holder.socket", properties{"ActiveState": "active", "SubState": "listening", "NAccepted": "0"})

	g.Unit("holder.socket").Stop(t)
	g.Unit(echoSocket).Start(t)
	assertShow(t, g, echoSocket, properties{"ActiveState": "active", "SubState": "listening", "Result": "success"})
}

// A service whose program does not exist: verify says so; the socket listens and
// accepts all the same, and the error stands in the journal of the service. See
// systemd.exec(5), exit status 203 (EXEC).
func TestMissingBinary(t *testing.T) {
	t.Parallel()
	const program = "/usr/local/bin/not-installed"
	g := startGuest(t, "testdata/missing-binary")
	found := verifyError(t, g, echoTemplate, echoSocket)
	assert.Contains(t, found, "Command "+program+" is not executable: No such file or directory", "systemd-analyze verify")
	g.Unit(echoSocket).Start(t)

	g.AnnounceFailure(t, echoTemplate)
	c := connect(t, g, "tcp", echoAddress)
	c.finish(t) // accepted, and closed without a byte
	g.Unit(echoSocket).WaitProperty(t, "NConnections", 0)
	assertShow(t, g, echoSocket, properties{
		"ActiveState": "active", "SubState": "listening", "Result": "success", "NAccepted": "1", "NConnections": "0",
	})
	instances := g.Unit(echoTemplate).Instances(t)
	require.Len(t, instances, 1)
	instance := instances[0].Name
	assert.Equal(t, instance+" is failed (failed), result exit-code, exit status 203", instances[0].String())

	// From a process that ends at once.
	assertJournal(t, g, instance, "Failed at step EXEC spawning "+program+": No such file or directory")
	assertJournal(t, g, instance, "Main process exited, code=exited, status=203/EXEC")
	ofSocket := g.Journal(t, vmtest.JournalQuery{Unit: echoSocket})
	assertLine(t, ofSocket, "the journal of "+echoSocket, "Listening on")
	assertNoLine(t, ofSocket, "the journal of "+echoSocket, "not-installed")
	assertNoLine(t, ofSocket, "the journal of "+echoSocket, "Failed")
}

// Accept=yes without a template of the socket's name: verify says so; the socket
// starts and fails at the first connection, and its own journal has the reason. See
// systemd.socket(5), Accept= and Service=.
func TestMissingTemplate(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/missing-template")
	found := verifyError(t, g, echoSocket)
	assert.Contains(t, found, "demo-echo.socket: service demo-echo@", "systemd-analyze verify")
	assert.Contains(t, found, "not loaded, socket cannot be started", "systemd-analyze verify")
	g.Unit(echoSocket).Start(t)
	assertShow(t, g, echoSocket, properties{"ActiveState": "active", "SubState": "listening", "Accept": "yes"})

	c := connect(t, g, "tcp", echoAddress)
	c.finish(t)
	g.Unit(echoSocket).Wait(t, "failed")
	assertShow(t, g, echoSocket, properties{
		"ActiveState": "failed", "SubState": "failed", "Result": "resources", "NConnections": "0",
	})
	assertJournal(t, g, echoSocket, missingTemplateText(g))
	assertJournal(t, g, echoSocket, "Failed with result 'resources'.")
	// The service without @ is not what Accept=yes looks for.
	assertShow(t, g, echoService, properties{"LoadState": "loaded", "ActiveState": "inactive", "ExecMainPID": "0"})
}

// missingTemplateText is why a socket fails that has no template to start.
func missingTemplateText(g *vmtest.Guest) string {
	if !loadsTemplate.of(g) {
		return "demo-echo.socket: Failed to queue service startup job (Maybe the service file is missing or not a template unit?): Invalid argument"
	}
	return "demo-echo.socket: Failed to load connection service unit: No such file or directory"
}

// A misspelt directive: verify names file and line; systemd ignores the line, and
// refuses the unit for what is missing then. See systemd-analyze(1), verify, and
// systemd.socket(5), ListenStream=.
func TestTypo(t *testing.T) {
	t.Parallel()
	const typo = "ListenStraem"
	g := startGuest(t, "testdata/typo")
	place := fmt.Sprintf("%s:%d: ", unitFile(g, echoSocket), lineOf(t, "testdata/typo/demo-echo.socket", typo+"="))
	found := verifyError(t, g, echoSocket)
	assert.Contains(t, found, place+"Unknown key", "systemd-analyze verify")
	assert.Contains(t, found, "'"+typo+"'", "systemd-analyze verify")

	g.AnnounceEntry(t, vmtest.JournalQuery{About: echoSocket, Contains: "Unit has no Listen setting"})
	start := g.Exec(t, vmtest.Command{Args: []string{"systemctl", "start", echoSocket}})
	assert.Equal(t, 1, start.ExitCode, "exit status of systemctl start")
	assert.Contains(t, string(start.Stderr), "Unit demo-echo.socket has a bad unit file setting.", "stderr of systemctl start")
	assertShow(t, g, echoSocket, properties{"LoadState": "bad-setting", "ActiveState": "inactive", "SubState": "dead"})
	assertJournal(t, g, echoSocket, place+"Unknown key")
	assertJournal(t, g, echoSocket, "Unit has no Listen setting")
}

// A service that never answers: the client's own deadline ends the wait, and the
// units say what happened: the connection is open, the instance runs and has logged
// no error. See systemd.socket(5), Accept=; RuntimeMaxSec= of systemd.service(5)
// would bound it.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	g := startGuest(t, "testdata/no-answer")
	g.Unit(echoSocket).Start(t)

	c := connect(t, g, "tcp", echoAddress)
	c.send(t, "is anybody there?")
	g.Unit(echoSocket).WaitProperty(t, "NConnections", 1)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
	n, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "read of an answer")
	assert.Zero(t, n, "bytes answered")

	assertShow(t, g, echoSocket, properties{
		"ActiveState": "active", "SubState": "listening", "NAccepted": "1", "NConnections": "1",
	})
	running := g.Unit(echoTemplate).Instances(t)
	require.Len(t, running, 1, "instances")
	instance := g.Unit(running[0].Name)
	assert.Equal(t, instance.Name()+" is active (running), result success", running[0].String())
	command := g.ReadFile(t, fmt.Sprintf("/proc/%d/cmdline", running[0].MainPID))
	assert.Equal(t, g.Machine.Image().BinDir()+"/sleep\x00infinity\x00", string(command), "what the instance runs")
	entries := g.Journal(t, vmtest.JournalQuery{Unit: instance.Name()})
	assertLine(t, entries, "the journal of the instance", "Started ")
	assertNoLine(t, entries, "the journal of the instance", "Failed")

	// The client's leaving does not end an instance that does not read either.
	require.NoError(t, c.Close())
	assert.Equal(t, "running", instance.State(t).SubState, "after the client has gone")
	instance.Stop(t)
	g.Unit(echoTemplate).WaitInstances(t, 0)
	assertShow(t, g, echoSocket, properties{"ActiveState": "active", "SubState": "listening", "NConnections": "0"})
}

// verifyError returns what systemd-analyze verify reports about units, which must be
// something.
func verifyError(t testing.TB, g *vmtest.Guest, units ...string) string {
	t.Helper()
	paths := make([]string, len(units))
	for i, unit := range units {
		paths[i] = unitFile(g, unit)
	}
	var found *vmtest.VerifyError
	require.ErrorAs(t, g.Machine.Verify(t.Context(), paths...), &found, "systemd-analyze verify")
	return fmt.Sprint(found)
}

// lineOf returns the number of the first line of a file of the host that begins
// with the text.
func lineOf(t testing.TB, file, text string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if strings.HasPrefix(line, text) {
			return n
		}
	}
	require.Fail(t, "no line of "+file+" begins with "+text)
	return 0
}

// To systemctl it is no fault to enable what nothing will start at a boot, or to ask
// for a property that does not exist. A test that meant another name, or left out a
// section, must not pass for that.
func TestWhatSystemctlLetsPass(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	g.WriteFile(t, unitFile(g, "no-install.target"), []byte("[Unit]\nDescription=Nothing wants it\n"), 0o644)
	_, err := g.Machine.EnableNow(t.Context(), "no-install.target")
	assert.EqualError(t, err, "enable no-install.target: no [Install] section; use Start")

	_, err = g.Machine.Unit("no-install.target").Show(t.Context(), "ActiveState", "Substate")
	assert.EqualError(t, err, `show no-install.target: it has no property "Substate"`)
	empty, err := g.Machine.Unit("systemd-journald.service").Show(t.Context(), "ExecStop", "Listen")
	assert.EqualError(t, err, `show systemd-journald.service: it has no property "Listen"`)
	assert.Empty(t, empty["ExecStop"], "a list without an entry")

	// The name of a unit may look like an option.
	assert.Equal(t, "active", show(t, g, "-.mount", "ActiveState"))
	g.WriteFile(t, unitFile(g, "-now.target"), []byte("[Install]\nWantedBy=multi-user.target\n"), 0o644)
	g.EnableNow(t, "-now.target")
	assertShow(t, g, "-now.target", properties{"ActiveState": "active", "UnitFileState": enabledState(g)})
	g.Disable(t, "-now.target")
	assertShow(t, g, "-now.target", properties{"ActiveState": "active", "UnitFileState": "disabled"})
}
