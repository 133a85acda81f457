package scenarios

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A daemon that gives no sign of life for WatchdogSec= is killed and started again. A
// stopped process stands for one that hangs. See WatchdogSec= in systemd.service(5).
func TestEchoWatchdog(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/watchdog")
	g.AnnounceFailure(t, echoService)
	g.EnableNow(t, echoSocket)
	connect(t, g, "tcp", echoAddress).echo(t, "first")
	require.Equal(t, shipped["watchdog"][echoService]["WatchdogUSec"], show(t, g, echoService, "WatchdogUSec"),
		"WatchdogUSec of %s, without which the wait below has no end", echoService)
	pid := mainPID(t, g)
	g.Unit(echoService).Kill(t, syscall.SIGSTOP)
	g.Unit(echoService).WaitProperty(t, "NRestarts", 1)
	assertJournal(t, g, echoService, "Watchdog timeout")
	connect(t, g, "tcp", echoAddress).echo(t, "second")
	assert.NotEqual(t, pid, mainPID(t, g), "process after the watchdog")
}
