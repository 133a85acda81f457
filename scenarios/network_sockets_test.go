package scenarios

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/netstack"
)

// second is a network beside the one that a NetworkConfig describes by default.
var second = vmtest.NetworkConfig{IPv4: netip.MustParsePrefix("10.1.0.0/24"), IPv6: netip.MustParsePrefix("fd01::/64")}

// unanswered fails the test if a connection comes about, or is refused.
func unanswered(t testing.TB, h *netstack.Host, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := h.Dial(ctx, "tcp", address)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

// BindToDevice= binds a socket to one network of two. See systemd.socket(5).
func TestNetworkBindToDevice(t *testing.T) {
	t.Parallel()
	first, other := vmtest.NewNetwork(t, vmtest.NetworkConfig{}), vmtest.NewNetwork(t, second)
	startNetworkEcho(t, "testdata/network-device", first, other)
	dialFrom(t, netstack.Start(t, other, vmtest.JoinConfig{}), "tcp", "server:9091").echo(t, "by eth1")
	_, err := netstack.Start(t, first, vmtest.JoinConfig{}).Dial(t.Context(), "tcp", "server:9091")
	assert.ErrorContains(t, err, "connection was refused", "by eth0")
}

// With FreeBind= a socket listens at an address that the machine does not have yet. See
// systemd.socket(5).
func TestNetworkFreeBind(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network-freebind", n)
	server.Unit(echoSocket).Wait(t, "listening")
	peer := netstack.Start(t, n, vmtest.JoinConfig{})
	server.Run(t, "ip", "address", "add", "10.0.0.77/24", "dev", "eth0")
	dialFrom(t, peer, "tcp", "10.0.0.77:9091").echo(t, "the address is there")
}

// IPAddressDeny= and IPAddressAllow= of a socket unit decide which machine reaches its socket:
// packets of others are dropped. See systemd.resource-control(5).
func TestNetworkIPAddressAllow(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network-allow", n)
	allowed := netstack.Start(t, n, vmtest.JoinConfig{IPv4: netip.MustParseAddr("10.0.0.100")})
	denied := netstack.Start(t, n, vmtest.JoinConfig{})
	dialFrom(t, allowed, "tcp", "server:9091").echo(t, "allowed")
	unanswered(t, denied, "server:9091")
	server.Unit(echoSocket).WaitProperty(t, "NAccepted", 1)
}

// IPAddressDeny= and IPAddressAllow= of a service decide which machine reaches a socket that it
// opens itself. See systemd.resource-control(5).
func TestNetworkIPAddressAllowOfAService(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := vmtest.Start(t, vmtest.Config{Hostname: "server", Networks: []*vmtest.Network{n}})
	copyUnits(t, server, "testdata/network-allow-service")
	server.Unit("collect.service").Start(t)
	server.WaitJournal(t, vmtest.JournalQuery{By: "collect.service", Contains: "Listening on"}, nil)
	denied := netstack.Start(t, n, vmtest.JoinConfig{})
	allowed := netstack.Start(t, n, vmtest.JoinConfig{IPv4: netip.MustParseAddr("10.0.0.100")})
	unanswered(t, denied, "server:9091")
	dialFrom(t, allowed, "tcp", "server:9091").send(t, "allowed")
	server.WaitJournal(t, vmtest.JournalQuery{By: "collect.service", Contains: "allowed"}, nil)
	server.ExpectNoEntry(t, vmtest.JournalQuery{By: "collect.service", Contains: denied.IPv4.String()})
}

// A client that vanishes without a word is noticed by KeepAlive= and its times. See
// systemd.socket(5) and tcp(7).
func TestNetworkKeepAlive(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network-keepalive", n)
	peer, other := netstack.Start(t, n, vmtest.JoinConfig{}), netstack.Start(t, n, vmtest.JoinConfig{})
	dialFrom(t, peer, "tcp", "server:9091").echo(t, "about to vanish")
	stays := dialFrom(t, other, "tcp", "server:9091")
	stays.echo(t, "stays")
	gone := vmtest.Faults{Cut: true}
	peer.SetFaults(gone, gone)
	server.Unit(echoTemplate).WaitInstances(t, 1)
	stays.echo(t, "is there still")
}

// A service with Accept=no restarts under load from two machines and the test itself. None of
// their connections is refused or lost, because the socket stays, and the old process serves
// those that it has. See systemd.socket(5).
func TestNetworkRestartUnderLoad(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network-restart", n)
	dials := map[string]dialer{"test": netstack.Start(t, n, vmtest.JoinConfig{}).Dial}
	for _, name := range []string{"one", "two"} {
		guest := vmtest.Start(t, vmtest.Config{Hostname: name, Networks: []*vmtest.Network{n}})
		dials[name] = guest.Machine.DialContext // from inside the guest
	}
	lines := make(chan string, len(dials))
	stop := make(chan struct{})
	var peers sync.WaitGroup
	for name, dial := range dials {
		peers.Go(func() {
			for {
				assert.NoError(t, echoOnce(t, dial, name), "a line of %s", name)
				select {
				case lines <- name:
				case <-stop:
					return
				}
			}
		})
	}
	// served waits until each has got some lines back.
	served := func() {
		for got := make(map[string]int); got["one"] < 3 || got["two"] < 3 || got["test"] < 3; {
			got[<-lines]++
		}
	}
	for range 3 {
		served()
		restarted := make(chan struct{})
		go func() {
			for {
				select {
				case <-lines: // the load goes on
				case <-restarted:
					return
				}
			}
		}()
		server.Unit(echoService).Restart(t)
		close(restarted)
	}
	served()
	close(stop)
	peers.Wait()
	assertShow(t, server, echoSocket, properties{"NRefused": "0"})
}

// dialer is net.Dialer.DialContext.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// echoOnce has a line sent back over a connection of its own.
func echoOnce(t *testing.T, dial dialer, line string) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := dial(ctx, "tcp", "server:9091")
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return err
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && got != line+"\n" {
		err = fmt.Errorf("got %q", got)
	}
	return err
}

// systemd-socket-proxyd joins two networks that do not reach each other. See
// systemd-socket-proxyd(8).
func TestNetworkSocketProxy(t *testing.T) {
	t.Parallel()
	front, back := vmtest.NewNetwork(t, vmtest.NetworkConfig{}), vmtest.NewNetwork(t, second)
	g := vmtest.Start(t, vmtest.Config{Hostname: "proxy", Networks: []*vmtest.Network{front, back}})
	copyUnits(t, g, "testdata/network-proxy")
	g.EnableNow(t, "proxy.socket")
	backend := netstack.Start(t, back, vmtest.JoinConfig{Name: "backend"})
	listener, err := backend.Listen("tcp", ":9091")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	from := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		from <- conn.RemoteAddr().(*net.TCPAddr).IP.String()
		io.Copy(conn, conn)
	}()
	dialFrom(t, netstack.Start(t, front, vmtest.JoinConfig{}), "tcp", "proxy:9091").echo(t, "through the proxy")
	assert.Equal(t, g.Interface(t, back).IPv4.String(), <-from, "who connects to the backend")
}

// A flood of datagrams loses some of them, and nothing else.
func TestNetworkDatagramFlood(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network-datagram", n)
	flooding, peer := netstack.Start(t, n, vmtest.JoinConfig{}), netstack.Start(t, n, vmtest.JoinConfig{})
	flood, err := flooding.Dial(t.Context(), "udp", "server:9091")
	require.NoError(t, err)
	defer flood.Close()
	for range 20_000 {
		_, err := flood.Write(make([]byte, 1000))
		require.NoError(t, err)
	}
	conn, err := peer.Dial(t.Context(), "udp", "server:9091")
	require.NoError(t, err)
	defer conn.Close()
	got := make([]byte, 100)
	for deadline := time.Now().Add(patience); ; { // a datagram may be lost in what is left of the flood
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
		_, err := io.WriteString(conn, "after the flood")
		require.NoError(t, err)
		size, err := conn.Read(got)
		if err == nil {
			assert.Equal(t, "after the flood", string(got[:size]))
			break
		}
		require.True(t, time.Now().Before(deadline), "no answer: %v", err)
	}
	assertShow(t, server, echoService, properties{"ActiveState": "active", "SubState": "running", "NRestarts": "0"})
}
