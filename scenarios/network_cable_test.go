package scenarios

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A client whose server's cable is pulled hears nothing, and the error says what is at the server.
// See ip-link(8).
func TestNetworkCable(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network", n)
	guest := vmtest.Start(t, vmtest.Config{Hostname: "guest", Networks: []*vmtest.Network{n}, OpTimeout: 5 * time.Second})
	for _, network := range []string{"tcp4", "tcp6"} { // the guest knows the name
		connect(t, guest, network, "server:9091").echo(t, network)
	}
	of := guest.Interface(t, n)
	assert.Equal(t, []string{of.IPv4.String(), of.IPv6.String()}, field(echoEvents(t, server, "accept"), "ECHO_REMOTE_ADDR"))
	entries := server.Journal(t, vmtest.JournalQuery{By: echoTemplate})
	assert.Len(t, entries, len(echoEvents(t, server, "accept")), "what the instances have logged: %v", entries)

	c := connect(t, guest, "tcp", "server:9091")
	c.echo(t, "before")
	server.SetCable(t, server.Interface(t, n), false)
	c.send(t, "after")
	_, err := c.in.ReadByte()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.ErrorContains(t, err, "; in server a socket ")
	assert.ErrorContains(t, err, " is open in systemd[1]")
	assert.ErrorContains(t, err, "; the cable of server is pulled")
	server.SetCable(t, server.Interface(t, n), true)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	c.expect(t, "after")
}
