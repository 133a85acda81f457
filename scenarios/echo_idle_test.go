package scenarios

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A service that exits when idle loses no connection: one that comes while it exits waits
// in the queue of the socket, which systemd holds, for the process that it starts next.
// The drop-in keeps the service in stop-post for as long as the test likes.
func TestEchoIdle(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/idle")
	copyUnits(t, g, "testdata/held-stop")
	g.Run(t, "mkfifo", "/run/demo-hold")
	g.EnableNow(t, echoSocket)
	first := connect(t, g, "tcp", echoAddress)
	first.echo(t, "first")
	pid := mainPID(t, g)
	first.finish(t)
	g.Unit(echoService).Wait(t, "stop-post")
	assert.Len(t, echoEvents(t, g, "idle"), 1)

	second := connect(t, g, "tcp", echoAddress)
	second.send(t, "second")
	g.Run(t, "sh", "-c", "echo >/run/demo-hold")
	second.expect(t, "second")
	assert.Equal(t, []string{pid, mainPID(t, g)}, field(echoEvents(t, g, "accept"), "_PID"), "process of each connection")
	assert.NotEqual(t, pid, mainPID(t, g))
	assertShow(t, g, echoService, properties{"NRestarts": "0", "Result": "success"})
}
