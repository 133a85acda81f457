package scenarios

import (
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/netstack"
)

// transfer is how much a machine sends, in bytes.
const transfer = 33 << 20

// A machine whose power is cut, or whose cable is pulled, in the middle of a transfer leaves
// without a FIN. KeepAlive= ends its connection with an error, and the transfer of another machine
// arrives whole. See systemd.socket(5) and tcp(7).
func TestNetworkMachineLeaves(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network-sink", n)
	half := make([]byte, transfer/2)
	// begin starts a machine that has sent one half, and is sending others.
	begin := func(name string, others int) (*vmtest.Guest, *vmtest.Conn, <-chan error) {
		g := vmtest.Start(t, vmtest.Config{Hostname: name, Networks: []*vmtest.Network{n}})
		conn := g.Dial(t, "tcp", "server:9091") // from inside the guest
		_, err := conn.Write(half)
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() {
			var err error
			for n := 0; n < others && err == nil; n++ {
				_, err = conn.Write(half)
			}
			ended <- err
		}()
		return g, conn, ended
	}
	_, stays, all := begin("stays", 1)
	pulled, _, _ := begin("pulled", math.MaxInt)
	pulled.SetCable(t, pulled.Interface(t, n), false)
	killed, _, ended := begin("killed", math.MaxInt)
	killed.Kill(t)
	assert.EqualError(t, <-ended, "write tcp server:9091 (guest): the host ended the session by Kill")
	require.NoError(t, <-all)
	require.NoError(t, stays.CloseWrite())
	server.Unit(echoTemplate).WaitInstances(t, 0)

	counted := make(map[string][]string) // by the address of the client
	for _, e := range server.Journal(t, vmtest.JournalQuery{Match: []string{"SYSLOG_IDENTIFIER=wc"}}) {
		_, client, _ := strings.Cut(e.Field("_SYSTEMD_UNIT"), ":9091-")
		address, _, _ := strings.Cut(client, ":")
		counted[address] = append(counted[address], e.Message)
	}
	assert.Equal(t, []string{strconv.Itoa(transfer)}, counted["10.0.0.2"], "bytes of the machine that stays")
	for _, gone := range []string{"10.0.0.3", "10.0.0.4"} {
		text := strings.Join(counted[gone], "\n")
		assert.Regexp(t, `(?m)wc: .*: (Connection timed out|No route to host)$`, text, gone)
		assert.NotContains(t, text, strconv.Itoa(transfer), gone)
	}
}

// A server whose power is cut in the middle of a transfer ends the connection of its client with
// an error once the client's kernel has given up (tcp_retries2 of tcp(7)).
func TestNetworkServerLeaves(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network-sink", n)
	g := vmtest.Start(t, vmtest.Config{Hostname: "client", Networks: []*vmtest.Network{n}})
	g.Run(t, "sh", "-c", "echo 3 >/proc/sys/net/ipv4/tcp_retries2")
	g.Run(t, "systemd-run", "--quiet", "--unit=send", "-p", "StandardError=journal", "bash", "-c", "exec cat /dev/zero >/dev/tcp/server/9091")
	server.Unit(echoSocket).WaitProperty(t, "NConnections", 1)
	server.Kill(t)
	g.Unit("send.service").Wait(t, "failed")
	e := g.ExpectEntry(t, vmtest.JournalQuery{Unit: "send.service", Contains: "cat: write error: "})
	assert.Regexp(t, "(Connection timed out|No route to host)$", e.Message)
}

// A machine that cannot join a network says why, goes on, and leaves nothing there: the next one
// gets the name and the address.
func TestNetworkJoinRefused(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	networks := []*vmtest.Network{n}
	first := vmtest.Start(t, vmtest.Config{Hostname: "first", Networks: networks})
	taken := first.Interface(t, n)
	_, err := vmtest.Launch(t.Context(), vmtest.Config{Hostname: "FIRST", Networks: networks})
	assert.EqualError(t, err, `join network: two machines have the name "FIRST": set Config.Hostname or JoinConfig.Name`)

	other := vmtest.Start(t, vmtest.Config{Hostname: "other", NICs: 1})
	for _, bad := range []struct {
		vmtest.JoinConfig
		want string
	}{
		{vmtest.JoinConfig{Name: "first"}, `two machines have the name "first": set Config.Hostname or JoinConfig.Name`},
		{vmtest.JoinConfig{IPv4: taken.IPv4}, "two machines have the address 10.0.0.1"},
		{vmtest.JoinConfig{IPv6: taken.IPv6}, "two machines have the address fd00::1"},
		{vmtest.JoinConfig{IPv4: netip.MustParseAddr("10.0.1.1")}, "the address 10.0.1.1 is not in the subnet 10.0.0.0/24"},
		{vmtest.JoinConfig{IPv6: netip.MustParseAddr("fe80::1")}, "the address fe80::1 is not in the subnet fd00::/64"},
	} {
		_, err := other.Machine.Join(t.Context(), n, bad.JoinConfig)
		assert.EqualError(t, err, "join network: "+bad.want)
		_, err = netstack.Open(t.Context(), n, bad.JoinConfig)
		assert.EqualError(t, err, "join network: "+bad.want, "a station")
	}
	assert.Equal(t, "10.0.0.2", other.Join(t, n, vmtest.JoinConfig{}).IPv4.String(), "the next address")
	ping(t, first, "other")
	ping(t, other, "first")
}

// A station whose frames are too short, too long, forged or random, and end with what is none, is
// taken out of the network. Machines there go on as before.
func TestNetworkHostileFrames(t *testing.T) {
	t.Parallel()
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	server := startNetworkEcho(t, "testdata/network-restart", n)
	guest := vmtest.Start(t, vmtest.Config{Hostname: "guest", Networks: []*vmtest.Network{n}})
	hostile, theirs := net.Pipe()
	defer hostile.Close()
	_, err := n.Attach(t.Context(), theirs, vmtest.JoinConfig{Name: "hostile"})
	require.NoError(t, err)
	go io.Copy(io.Discard, hostile)

	all := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	to, from := server.Interface(t, n).HardwareAddr, guest.Interface(t, n).HardwareAddr
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		kinds := []uint16{0x0800, 0x86dd, 0x0806, 0x8100, uint16(random.Uint32())}
		payload := make([]byte, random.IntN(1500))
		if i%100 == 0 {
			payload = make([]byte, 65_000)
		}
		for at := range payload {
			payload[at] = byte(random.Uint32())
		}
		frame := append(slices.Clone([]net.HardwareAddr{to, all}[i%2]), from...) // forged
		frame = append(binary.BigEndian.AppendUint16(frame, kinds[i%len(kinds)]), payload...)
		_, err := hostile.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
		require.NoError(t, err)
		_, err = hostile.Write([]byte{0, 0, 0, 3, 1, 2, 3}) // too short
		require.NoError(t, err)
	}
	assert.NoError(t, echoOnce(t, guest.Machine.DialContext, "while it is there"))
	_, _, there := n.Lookup("hostile")
	assert.True(t, there)
	_, err = hostile.Write([]byte{0xff, 0xff, 0xff, 0xff})
	require.NoError(t, err)
	_, err = hostile.Write([]byte{0})
	assert.ErrorIs(t, err, io.ErrClosedPipe, "a write of a station that is no more")
	assert.NoError(t, echoOnce(t, guest.Machine.DialContext, "after it"))
	assertShow(t, server, echoSocket, properties{"NRefused": "0"})
}

// flood sends frames from addresses that it invents, to all stations and to addresses that
// nobody has, as fast as it can, by a socket of packet(7) at the interface with index 2.
const flood = `use strict;
socket(my $s, 17, 3, 0) or die "socket: $!";
my $to = pack("S n i S C C a8", 17, 0x88b5, 2, 0, 0, 6, "");
my $payload = "x" x 1400;
for (my $n = 0;; $n++) {
	my $dst = $n % 2 ? "\xff" x 6 : pack("C2 N", 2, 1, $n);
	send($s, $dst . pack("C2 N n", 2, 2, $n, 0x88b5) . $payload, 0, $to) or $!{ENOBUFS} or die "send: $!";
}`

// A guest that floods the network with frames slows others down and harms nobody: they still
// talk, and what the network keeps is bounded. See packet(7).
func TestNetworkFloodByAGuest(t *testing.T) { // alone, as it looks at this process's memory
	n := vmtest.NewNetwork(t, vmtest.NetworkConfig{})
	startNetworkEcho(t, "testdata/network-restart", n)
	guest := vmtest.Start(t, vmtest.Config{Hostname: "guest", Networks: []*vmtest.Network{n}})
	hostile := vmtest.Start(t, vmtest.Config{Hostname: "hostile", Networks: []*vmtest.Network{n}})
	peer := netstack.Start(t, n, vmtest.JoinConfig{})
	sent := func() int {
		text := string(hostile.ReadFile(t, "/sys/class/net/eth0/statistics/tx_packets"))
		frames, err := strconv.Atoi(strings.TrimSpace(text))
		require.NoError(t, err)
		return frames
	}
	before := heap()
	hostile.Run(t, "systemd-run", "--quiet", "--unit=flood", "perl", "-e", flood)
	last, since := 0, time.Now()
	for n := sent(); n < 50_000; n = sent() {
		if n > last {
			last, since = n, time.Now()
		}
		require.Less(t, time.Since(since), patience, "time without another frame after %d", n)
		assert.NoError(t, echoOnce(t, guest.Machine.DialContext, "from a guest"))
		assert.NoError(t, echoOnce(t, peer.Dial, "from the test"))
	}
	frames, kept := sent(), heap()-before
	t.Logf("%d frames of 1414 bytes, %d bytes kept", frames, kept)
	assert.Less(t, kept, 40<<20, "bytes that this process keeps of %d frames", frames)
}

// heap returns how much memory this process uses, in bytes.
func heap() int {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}
