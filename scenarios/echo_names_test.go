package scenarios

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Whichever socket has a client first, the service gets the sockets of all three units,
// and tells them apart by name. See Sockets= in systemd.service(5) and
// FileDescriptorName= in systemd.socket(5).
func TestEchoNames(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/names")
	g.EnableNow(t, "demo-echo-stream.socket", "demo-echo-packets.socket", "demo-echo-datagrams.socket")
	assert.Equal(t, "\"first\"\n", echoClient(t, g, "unixpacket", "/run/demo-echo/packets", "first"))
	connect(t, g, "tcp", echoAddress).echo(t, "second")
	assert.Equal(t, "\"third\"\n", echoClient(t, g, "udp", echoAddress, "third"))
	networks := map[string]string{}
	for _, e := range echoEvents(t, g, "listen") {
		networks[e.Field("ECHO_LISTENER")] = e.Field("ECHO_NETWORK")
	}
	assert.Equal(t, map[string]string{"stream": "tcp", "packets": "unixpacket", "datagrams": "udp"}, networks, "network of each socket by its name")
	assert.Equal(t, []string{"packets", "stream"}, field(echoEvents(t, g, "accept"), "ECHO_LISTENER"))
}
