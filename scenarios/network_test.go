package scenarios

import (
	"bufio"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/netstack"
)

// withNetworkEcho is withEcho for a machine that joins networks.
var withNetworkEcho = vmtest.Template{
	Name:   "echo daemon with network interfaces",
	Config: vmtest.Config{NICs: 2},
	Setup:  withEcho.Setup,
}

// startNetworkEcho starts a guest called server with the echo daemon and the units in dir,
// which joins the networks.
func startNetworkEcho(t testing.TB, dir string, networks ...*vmtest.Network) *vmtest.Guest {
	t.Helper()
	g := withNetworkEcho.Start(t)
	for _, n := range networks {
		g.Join(t, n, vmtest.JoinConfig{Name: "server"})
	}
	copyUnits(t, g, dir)
	g.EnableNow(t, echoSocket)
	return g
}

// dialFrom connects from a station of a network.
func dialFrom(t testing.TB, h *netstack.Host, network, address string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := h.Dial(ctx, network, address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return &client{Conn: conn, in: bufio.NewReader(conn)}
}

// A socket unit that listens on all addresses tells its service who connects, from a guest and
// from elsewhere: by IPv6, by IPv4 at a socket of IPv4, and by IPv4 at a socket of IPv6, where the
// kernel has a mapped address (::ffff:10.0.0.2). See systemd.exec(5), REMOTE_ADDR, and ipv6(7).
func TestNetworkRemoteAddr(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network", n)
	guest := vmtest.Start(t, vmtest.Config{Hostname: "guest", Networks: []*vmtest.Network{n}})
	peer := netstack.Start(t, n, vmtest.JoinConfig{Name: "peer"})

	mapped := dialFrom(t, peer, "tcp4", "server:9091")
	mapped.echo(t, "IPv4 at a socket of IPv6")
	listing := server.Run(t, "ss", "--numeric", "state", "established", "sport", "=", ":9091")
	assert.Contains(t, listing, "[::ffff:"+peer.IPv4.String()+"]:", "the kernel's address of the client")
	mapped.finish(t)
	dialFrom(t, peer, "tcp6", "server:9091").echo(t, "IPv6")
	for _, version := range []string{"-4", "-6"} {
		out := guest.Exec(t, vmtest.Command{Args: []string{"nc", version, "-N", "server", "9091"}, Stdin: strings.NewReader("guest\n")})
		assert.Equal(t, "guest\n", string(out.Stdout))
	}
	dialFrom(t, peer, "tcp4", "server:9092").echo(t, "IPv4 at a socket of IPv4")
	of := guest.Interface(t, n)
	accepts := echoEvents(t, server, "accept")
	assert.Equal(t, []string{peer.IPv4.String(), peer.IPv6.String(), of.IPv4.String(), of.IPv6.String(), peer.IPv4.String()},
		field(accepts, "ECHO_REMOTE_ADDR"))
}

// MaxConnectionsPerSource= counts the connections of each machine. See systemd.socket(5).
func TestNetworkMaxConnectionsPerSource(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network", n)
	one, two := netstack.Start(t, n, vmtest.JoinConfig{}), netstack.Start(t, n, vmtest.JoinConfig{})
	for range 2 {
		dialFrom(t, one, "tcp", "server:9091").echo(t, "one")
	}
	refused := dialFrom(t, one, "tcp", "server:9091")
	_, err := refused.in.ReadString('\n')
	assert.Error(t, err, "a third connection")
	server.Unit(echoSocket).WaitProperty(t, "NRefused", 1)
	dialFrom(t, two, "tcp", "server:9091").echo(t, "two")
}

// Two guests reach each other by name. One of them boots cold, and one reboots.
func TestNetworkAfterBoot(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := vmtest.Start(t, vmtest.Config{Hostname: "server", Networks: []*vmtest.Network{n}})
	cold := vmtest.Start(t, vmtest.Config{ColdBoot: true, Hostname: "cold", Networks: []*vmtest.Network{n}})
	ping(t, cold, "server")
	ping(t, server, "cold")
	server.Reboot(t)
	ping(t, cold, "server")
	ping(t, server, "cold")
}

// ping fails the test unless a host answers, at a port where nothing listens.
func ping(t *testing.T, g *vmtest.Guest, host string) {
	t.Helper()
	r := g.Exec(t, vmtest.Command{Args: []string{"nc", "-zv", "-w", "5", host, "9"}})
	assert.Contains(t, string(r.Stderr), "Connection refused")
}

// A machine that has gone leaves its name and addresses to another. A snapshot of a machine that
// was in a network is in none.
func TestNetworkIsLeft(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	networks := []*vmtest.Network{n}
	first := vmtest.Start(t, vmtest.Config{Hostname: "server", Networks: networks})
	address := first.Interface(t, n).IPv4
	first.Machine.Kill()
	second := vmtest.Start(t, vmtest.Config{Hostname: "server", Networks: networks})
	assert.Equal(t, address, second.Interface(t, n).IPv4)
	client := vmtest.Start(t, vmtest.Config{Hostname: "client", Networks: networks})
	ping(t, client, "server")

	snapshot, err := second.Machine.Snapshot(t.Context())
	require.NoError(t, err)
	defer snapshot.Close()
	fork := snapshot.Start(t, vmtest.ForkConfig{})
	assert.NotContains(t, fork.Run(t, "ip", "-brief", "address"), address.String())
	assert.NotContains(t, string(fork.ReadFile(t, "/etc/hosts")), "client")
	again := snapshot.Start(t, vmtest.ForkConfig{Hostname: "server", Networks: networks})
	ping(t, client, "server")
	ping(t, again, "client")
}
