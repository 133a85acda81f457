package scenarios

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// patience is how long a test waits for one event in a guest. Without KVM a busy host
// takes seconds to start an instance of a service.
const patience = 45 * time.Second

// client is a connection to the guest. Its deadline is that of Guest.Dial, so a service
// that does not answer fails only its test.
type client struct {
	net.Conn
	in *bufio.Reader
}

// connect connects to an address in the guest.
func connect(t testing.TB, g *vmtest.Guest, network, address string) *client {
	t.Helper()
	conn := g.Dial(t, network, address)
	return &client{Conn: conn, in: bufio.NewReader(conn)}
}

// send sends a line.
func (c *client) send(t testing.TB, line string) {
	t.Helper()
	_, err := io.WriteString(c, line+"\n")
	require.NoError(t, err, "send %q", line)
}

// expect receives a line, which must be the given one.
func (c *client) expect(t testing.TB, line string) {
	t.Helper()
	got, err := c.in.ReadString('\n')
	require.Equal(t, line+"\n", got, "line received (error: %v)", err)
}

// echo sends a line and receives it back.
func (c *client) echo(t testing.TB, line string) {
	t.Helper()
	c.send(t, line)
	c.expect(t, line)
}

// finish closes the sending side, as nc -N does. The service must then close the
// connection without sending another byte.
func (c *client) finish(t testing.TB) {
	t.Helper()
	half, ok := c.Conn.(interface{ CloseWrite() error })
	require.True(t, ok, "%T has no CloseWrite", c.Conn)
	require.NoError(t, half.CloseWrite(), "close the sending side")
	rest, err := io.ReadAll(c.in)
	assert.NoError(t, err, "wait for the service to close the connection")
	assert.Empty(t, string(rest), "bytes after the last line")
}
