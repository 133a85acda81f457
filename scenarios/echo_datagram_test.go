package scenarios

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
)

// echoClient sends messages by the client of the echo daemon, in the guest, and returns
// what that printed: each message that came back, quoted, on a line.
func echoClient(t testing.TB, g *vmtest.Guest, args ...string) string {
	t.Helper()
	g.InstallGo(t, "example.org/systemd-vmtest/echo/cmd/echo-client", "/run/echo-client")
	return g.Run(t, append([]string{"/run/echo-client"}, args...)...)
}

// The first datagram starts the service, which gets both sockets and sends each datagram
// back to its sender. See ListenDatagram= in systemd.socket(5).
func TestEchoDatagrams(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/datagram")
	g.EnableNow(t, echoSocket)
	assert.Equal(t, "\"one\"\n\"\"\n\"two words\"\n", echoClient(t, g, "udp", echoAddress, "one", "", "two words"))
	assertShow(t, g, echoService, properties{"ActiveState": "active", "SubState": "running"})
	assert.Equal(t, "\"to a path\"\n", echoClient(t, g, "unixgram", "/run/demo-echo/datagrams", "to a path"))
	assert.Equal(t, []string{"udp", "unixgram"}, field(echoEvents(t, g, "listen"), "ECHO_NETWORK"), "sockets of the service")

	echoClient(t, g, "--unbound", "unixgram", "/run/demo-echo/datagrams", "no answer")
	dropped := waitEcho(t, g, "datagram", func(e vmtest.Entry) bool { return e.Field("ECHO_ERROR") != "" })
	assert.Contains(t, dropped.Field("ECHO_ERROR"), "the sender's socket is not bound")
}
