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

// patience is how long a test waits for one thing to happen in a guest; an
// instance of a service takes seconds to start on a busy host without KVM.
const patience = 45 * time.Second

// client is one connection into the guest. It has the deadline of Guest.Dial, so that
// a service that does not answer fails the test and not the whole run.
type client struct {
	net.Conn
	in *bufio.Reader
}

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

// expect receives a line.
func (c *client) expect(t testing.TB, line string) {
	t.Helper()
	got, err := c.in.ReadString('\n')
	require.Equal(t, line+"\n", got, "line that comes back (the read ended with error: %v)", err)
}

// echo sends a line and receives it back.
func (c *client) echo(t testing.TB, line string) {
	t.Helper()
	c.send(t, line)
	c.expect(t, line)
}

// finish ends the sending side, as nc -N does, and expects that the service ends
// the connection without another byte.
func (c *client) finish(t testing.TB) {
	t.Helper()
	half, ok := c.Conn.(interface{ CloseWrite() error })
	require.True(t, ok, "%T has no CloseWrite", c.Conn)
	require.NoError(t, half.CloseWrite(), "half-close the connection")
	rest, err := io.ReadAll(c.in)
	assert.NoError(t, err, "wait for the service to end the connection")
	assert.Empty(t, string(rest), "bytes after the last line")
}
