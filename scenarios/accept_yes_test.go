package scenarios

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
)

// With Accept=yes, systemd starts an instance of demo-echo@.service for each connection.
// The instances run at the same time, and each ends with its client. REMOTE_ADDR and
// REMOTE_PORT name the client. See systemd.socket(5), Accept=.
func TestAcceptYes(t *testing.T) {
	t.Parallel()
	const clients = 3
	g := startEchoGuest(t, "../echo/units/accept-yes")
	g.Verify(t, unitFile(g, echoTemplate), unitFile(g, echoSocket))
	g.EnableNow(t, echoSocket)
	assertShow(t, g, echoSocket, properties{
		"Accept": "yes", "SubState": "listening", "NAccepted": "0", "NConnections": "0",
	})

	var open []*client
	for n := range clients {
		c := connect(t, g, "tcp", echoAddress)
		c.send(t, fmt.Sprintf("hello from client %d", n))
		open = append(open, c)
	}
	for n, c := range open {
		c.expect(t, fmt.Sprintf("hello from client %d", n))
	}
	assertShow(t, g, echoSocket, properties{
		"SubState": "listening", "NAccepted": fmt.Sprint(clients), "NConnections": fmt.Sprint(clients), "NRefused": "0",
	})
	running := g.Unit(echoTemplate).Instances(t)
	assert.Len(t, running, clients, "instances while %d clients are connected", clients)
	var pids []string
	for _, instance := range running {
		assert.Equal(t, "running", instance.SubState, instance.Name)
		pids = append(pids, fmt.Sprint(instance.MainPID))
	}
	accepts := echoEvents(t, g, "accept")
	assert.ElementsMatch(t, pids, field(accepts, "_PID"), "processes that accepted a connection")
	for _, e := range accepts {
		assert.Equal(t, "127.0.0.1", e.Field("ECHO_REMOTE_ADDR"), "REMOTE_ADDR in %q", e.Message)
		assert.Equal(t, e.Field("ECHO_PEER"), "127.0.0.1:"+e.Field("ECHO_REMOTE_PORT"), "REMOTE_PORT and the peer of the connection in %q", e.Message)
	}

	open[0].finish(t)
	g.Unit(echoSocket).WaitProperty(t, "NConnections", clients-1)
	open[1].echo(t, "still served")
	g.Unit(echoTemplate).WaitInstances(t, clients-1)

	for _, c := range open[1:] {
		c.finish(t)
	}
	g.Unit(echoTemplate).WaitInstances(t, 0)
	s := g.Unit(echoSocket).State(t)
	assert.Equal(t, [3]any{"listening", clients, 0}, [3]any{s.SubState, s.NAccepted, s.NConnections}, "%v", s)
	// Each echoes 20 bytes of "hello from client N\n"; one also "still served\n".
	assert.ElementsMatch(t, []string{"20", "33", "20"}, field(echoEvents(t, g, "close"), "ECHO_BYTES"), "bytes echoed by each instance")
}

// A stop of an Accept=yes socket ends no connection, because each belongs to its
// instance. New clients are refused. See systemd.socket(5), Accept=.
func TestAcceptYesStopSocket(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/accept-yes")
	g.Unit(echoSocket).Start(t)
	open := connect(t, g, "tcp", echoAddress)
	open.echo(t, "before")

	g.Unit(echoSocket).Stop(t)
	assertShow(t, g, echoSocket, properties{"ActiveState": "inactive", "SubState": "dead", "Result": "success", "NConnections": "1"})
	refused := g.Exec(t, vmtest.Command{Args: []string{"nc", "-N", "127.0.0.1", "9091"}})
	assert.Equal(t, 1, refused.ExitCode, "exit status of nc after the stop of the socket")
	open.echo(t, "after")
	open.finish(t)
	g.Unit(echoTemplate).WaitInstances(t, 0)
}
