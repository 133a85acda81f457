package scenarios

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A reload changes the bound of a running process. With Type=notify-reload, from systemd
// 253 on, the reload has taken effect when it returns; a plain ExecReload= has only sent
// the signal by then. See systemd.service(5).
func TestEchoReload(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		topic string
		since int
	}{{"reload", 0}, {"reload-notify", notifyReload.since}} {
		t.Run(test.topic, func(t *testing.T) {
			t.Parallel()
			g := startEchoGuest(t, "../echo/units/"+test.topic)
			g.NeedSystemd(t, test.since, notifyReload.what)
			g.WriteFile(t, "/etc/demo-echo.conf", []byte("max-connections=1\n"), 0o644)
			g.EnableNow(t, echoSocket)
			first := connect(t, g, "tcp", echoAddress)
			first.echo(t, "first")
			pid := mainPID(t, g)
			second := connect(t, g, "tcp", echoAddress)
			second.send(t, "second")
			assert.Len(t, echoEvents(t, g, "accept"), 1, "connections that a bound of 1 allows")

			g.WriteFile(t, "/etc/demo-echo.conf", []byte("max-connections=2\n"), 0o644)
			g.Unit(echoService).Reload(t)
			if test.since > 0 {
				assert.Len(t, echoEvents(t, g, "reload"), 1, "reloads that were done when systemctl reload returned")
			}
			second.expect(t, "second")
			reload := waitEcho(t, g, "reload", anyEntry)
			assert.Equal(t, "2", reload.Field("ECHO_MAX_CONNECTIONS"))
			assert.Equal(t, pid, mainPID(t, g), "process after the reload")
			assertShow(t, g, echoService, properties{"ActiveState": "active", "SubState": "running"})
		})
	}
}
