package scenarios

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// With Accept=no, systemd starts the service for the first client. One process serves all
// clients, and inherits the listening socket. See systemd.socket(5), Accept=, and
// sd_listen_fds(3).
func TestAcceptNo(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/accept-no")
	g.Verify(t, unitFile(g, echoService), unitFile(g, echoSocket))
	g.EnableNow(t, echoSocket)
	assertShow(t, g, echoSocket, properties{
		"Accept": "no", "ActiveState": "active", "SubState": "listening", "Triggers": echoService,
	})
	assertShow(t, g, echoService, properties{"ActiveState": "inactive", "MainPID": "0", "TriggeredBy": echoSocket})
	assert.Empty(t, g.Journal(t, vmtest.JournalQuery{Unit: echoService}), "journal of the service before the first client")

	first := connect(t, g, "tcp", echoAddress)
	first.echo(t, "first client")
	pid := mainPID(t, g)
	assertShow(t, g, echoService, properties{"ActiveState": "active", "SubState": "running", "NRestarts": "0"})
	assertShow(t, g, echoSocket, properties{"SubState": "running"})

	second := connect(t, g, "tcp", echoAddress)
	second.echo(t, "second client, with the first still connected")
	first.echo(t, "first client again")
	first.finish(t)
	second.finish(t)
	third := connect(t, g, "tcp", echoAddress)
	third.echo(t, "third client, after the others have left")
	third.finish(t)

	assertShow(t, g, echoService, properties{"ActiveState": "active", "MainPID": pid})
	assert.Equal(t, []string{pid, pid, pid}, field(echoEvents(t, g, "accept"), "_PID"), "process of each connection")
	assert.Equal(t, []string{"demo-echo.socket"}, field(echoEvents(t, g, "listen"), "ECHO_LISTENER"), "names of the inherited listeners")
	// Only Accept=yes counts.
	assertShow(t, g, echoSocket, properties{"NAccepted": "0", "NConnections": "0"})
	assertJournal(t, g, echoService, "connection accepted")
}

// A restart of an Accept=no service refuses no client. The socket unit keeps listening,
// and the new process serves the clients that connect during the restart. See
// systemd.socket(5), Accept=; systemctl(1), restart; systemd.unit(5) for the drop-in.
func TestAcceptNoRestart(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/accept-no")
	copyUnits(t, g, "testdata/long-drain")
	g.Unit(echoSocket).Start(t)
	assertShow(t, g, echoService, properties{
		"DropInPaths": unitFile(g, "demo-echo.service.d/drain.conf"), "TimeoutStopUSec": "3min",
	})
	invocation := show(t, g, echoSocket, "InvocationID")
	before := connect(t, g, "tcp", echoAddress)
	before.echo(t, "before the restart")
	oldPID := mainPID(t, g)

	// The old process waits until its client leaves. So the restart lasts until
	// before.finish below.
	systemctl(t, g, "restart", "--no-block", echoService)
	waitEcho(t, g, "drain", anyEntry)
	during := connect(t, g, "tcp", echoAddress)
	during.send(t, "during the restart")
	assertShow(t, g, echoService, properties{"ActiveState": "deactivating", "MainPID": oldPID})
	assertShow(t, g, echoSocket, properties{"ActiveState": "active"})
	before.echo(t, "the old process still serves its client")
	before.finish(t)

	during.expect(t, "during the restart")
	newPID := mainPID(t, g)
	assert.NotEqual(t, oldPID, newPID, "MainPID after the restart")
	after := connect(t, g, "tcp", echoAddress)
	after.echo(t, "after the restart")
	assert.Equal(t, []string{oldPID, newPID, newPID}, field(echoEvents(t, g, "accept"), "_PID"),
		"process of the connection before, during and after the restart")
	assertShow(t, g, echoService, properties{"ActiveState": "active", "SubState": "running", "Result": "success"})
	// The same invocation shows that systemd did not bind the socket again.
	assertShow(t, g, echoSocket, properties{
		"ActiveState": "active", "SubState": "running", "Result": "success", "InvocationID": invocation,
	})
}

// After a stop of an Accept=no service its socket still listens, and the next client
// starts the service again. A stop of the socket does not stop the service. See
// systemd.socket(5) and systemctl(1), stop.
func TestAcceptNoStop(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/accept-no")
	g.Unit(echoSocket).Start(t)
	c := connect(t, g, "tcp", echoAddress)
	c.echo(t, "first client")
	c.finish(t)
	oldPID := mainPID(t, g)

	stop := g.Exec(t, vmtest.Command{Args: []string{"systemctl", "stop", echoService}})
	assert.Equal(t, 0, stop.ExitCode, "exit status of systemctl stop")
	assert.Contains(t, string(stop.Stderr), echoSocket, "warning of systemctl stop about the unit that can start the service again")
	assertShow(t, g, echoService, properties{"ActiveState": "inactive", "SubState": "dead", "Result": "success", "MainPID": "0"})
	assertShow(t, g, echoSocket, properties{"ActiveState": "active", "SubState": "listening"})
	drain := waitEcho(t, g, "drain", anyEntry)
	assert.Equal(t, "0", drain.Field("ECHO_CONNECTIONS"), "connections open at SIGTERM, in %q", drain.Message)

	c = connect(t, g, "tcp", echoAddress)
	c.echo(t, "client after the stop")
	assert.NotEqual(t, oldPID, mainPID(t, g), "MainPID after the stop")

	g.Unit(echoSocket).Stop(t)
	assertShow(t, g, echoSocket, properties{"ActiveState": "inactive", "SubState": "dead"})
	assertShow(t, g, echoService, properties{"ActiveState": "active", "SubState": "running"})
	c.echo(t, "client after the stop of the socket")
	c.finish(t)
}

// mainPID returns the main process of the echo service, which must be running.
func mainPID(t testing.TB, g *vmtest.Guest) string {
	t.Helper()
	pid := show(t, g, echoService, "MainPID")
	require.NotEqual(t, "0", pid, "MainPID of %s", echoService)
	return pid
}
