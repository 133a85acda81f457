package scenarios

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A connection of ListenSequentialPacket= keeps the boundaries of messages, and starts the
// service as a stream does. See systemd.socket(5).
func TestEchoSequentialPackets(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/seqpacket")
	g.EnableNow(t, echoSocket)
	assert.Equal(t, "\"one\"\n\"two words\"\n", echoClient(t, g, "unixpacket", "/run/demo-echo/packets", "one", "two words"))
	assertShow(t, g, echoSocket, properties{"SubState": "running"})
	assert.Equal(t, []string{"12"}, field(echoEvents(t, g, "close"), "ECHO_BYTES"))
}
