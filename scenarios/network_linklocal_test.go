package scenarios

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest"
)

// A socket unit listens on a link-local address, whose interface stands behind the port or in
// BindToDevice=. A machine connects to it with a zone, and the service sees the client's
// link-local address with the interface. See systemd.socket(5), ipv6(7).
func TestNetworkLinkLocal(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network-linklocal", n)
	guest := vmtest.Start(t, vmtest.Config{Hostname: "guest", Networks: []*vmtest.Network{n}})
	connect(t, guest, "tcp", "[fe80::5054:aff:fe00:1%eth0]:9091").echo(t, "by the scope")

	server.CopyFS(t, os.DirFS("testdata/network-linklocal-device"), unitDir(server))
	server.DaemonReload(t)
	server.Unit(echoSocket).Restart(t)
	connect(t, guest, "tcp", "[fe80::5054:aff:fe00:1%eth0]:9092").echo(t, "by the device")

	const client = "fe80::5054:aff:fe00:2%eth0"
	assert.Equal(t, []string{client, client}, field(echoEvents(t, server, "accept"), "ECHO_REMOTE_ADDR"))
}
