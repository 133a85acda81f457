package scenarios

import (
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
)

// An open connection goes on over a restart and over a crash of the service, because
// systemd has it in the service's file-descriptor store. A stop empties the store. See
// FileDescriptorStoreMax= in systemd.service(5) and FDSTORE=1 in sd_notify(3).
func TestEchoStore(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/store")
	g.AnnounceFailure(t, echoService) // it is killed
	g.EnableNow(t, echoSocket)
	c := connect(t, g, "tcp", echoAddress)
	c.echo(t, "before")
	pids := []string{mainPID(t, g)}
	assertShow(t, g, echoService, properties{"NFileDescriptorStore": "1"})

	g.Unit(echoService).Restart(t)
	c.echo(t, "after the restart")
	pids = append(pids, mainPID(t, g))
	g.Unit(echoService).Kill(t, syscall.SIGKILL)
	c.echo(t, "after the crash")
	pids = append(pids, mainPID(t, g))
	assert.Equal(t, pids, field(echoEvents(t, g, "accept"), "_PID"), "processes that served the connection")
	assert.Equal(t, []string{"", "true", "true"}, field(echoEvents(t, g, "accept"), "ECHO_STORED"))
	assertShow(t, g, echoService, properties{"NFileDescriptorStore": "1"})
	c.finish(t)
	g.Unit(echoService).WaitProperty(t, "NFileDescriptorStore", 0)

	c = connect(t, g, "tcp", echoAddress)
	c.echo(t, "before the stop")
	g.Unit(echoService).Stop(t)
	rest, err := io.ReadAll(c)
	assert.NoError(t, err)
	assert.Empty(t, rest)
	waitEcho(t, g, "close", func(e vmtest.Entry) bool { return e.Field("_PID") == pids[2] })
	assertShow(t, g, echoService, properties{"NFileDescriptorStore": "0", "ActiveState": "inactive"})
}
