package scenarios

import (
	"bufio"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A test sends packets to sockets of each kind in the guest, and reads the answers.
func TestDialPackets(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/datagram")
	g.EnableNow(t, echoSocket)
	for _, dial := range [][2]string{{"udp", echoAddress}, {"unixgram", "/run/demo-echo/datagrams"}} {
		conn := g.Dial(t, dial[0], dial[1])
		packet := make([]byte, 100)
		for _, want := range []string{"one", "", "two words"} {
			_, err := conn.Write([]byte(want))
			require.NoError(t, err)
			n, err := conn.Read(packet)
			require.NoError(t, err)
			assert.Equal(t, want, string(packet[:n]), dial[0])
		}
	}
}

// A daemon sees the client's address that a test chooses. See systemd.exec(5), REMOTE_ADDR.
func TestDialFrom(t *testing.T) {
	t.Parallel()
	g := startEchoGuest(t, "../echo/units/accept-yes")
	g.EnableNow(t, echoSocket)
	conn := g.DialFrom(t, vmtest.Source{Address: "127.0.0.2:34567"}, "tcp", echoAddress)
	c := &client{Conn: conn, in: bufio.NewReader(conn)}
	c.echo(t, "from another address")
	accepts := echoEvents(t, g, "accept")
	assert.Equal(t, []string{"127.0.0.2"}, field(accepts, "ECHO_REMOTE_ADDR"))
	assert.Equal(t, []string{"34567"}, field(accepts, "ECHO_REMOTE_PORT"))
}
