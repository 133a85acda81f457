package vmtest

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// BenchmarkNetwork compares a fork in a network with one that is in none, until systemd's first
// answer, and two joined forks, until the first byte between them, with that fork.
func BenchmarkNetwork(b *testing.B) {
	ctx := context.Background()
	for _, nics := range []int{0, 1} { // makes the snapshots
		m, err := Launch(ctx, Config{NICs: nics})
		require.NoError(b, err)
		m.Close()
	}
	holdSlot(b)
	snapshot := listening(b)
	defer snapshot.Close()
	var alone, joined, pair []float64
	for range 9 {
		alone = append(alone, firstAnswer(b, nil))
		n, err := OpenNetwork(NetworkConfig{})
		require.NoError(b, err)
		joined = append(joined, firstAnswer(b, []*Network{n}))
		require.NoError(b, n.Close())
		pair = append(pair, firstByte(b, snapshot))
	}
	report(b, "network_fork_to_answer_s", median(joined), "s")
	report(b, "network_fork_per_fork", median(joined)/median(alone), "ratio")
	report(b, "network_first_byte_s", median(pair), "s")
	report(b, "network_first_byte_per_fork", median(pair)/median(alone), "ratio")
}

// BenchmarkNetworkTCP compares a transfer of 33 MB by TCP from one guest to another in a network
// with that between two guests whose QEMUs have the two ends of one socket pair as their netdevs
// (-netdev socket,fd=), with nothing between them. In all else the guests are alike. A stall
// would be a timeout of the sender's TCP (TCPTimeouts of /proc/net/netstat).
func BenchmarkNetworkTCP(b *testing.B) {
	holdSlot(b)
	snapshot := listening(b)
	defer snapshot.Close()
	var switched, direct [2][]float64 // MB/s, and timeouts
	for range 5 {
		throughSwitch(b, snapshot, &switched)
		throughQEMU(b, snapshot, &direct)
	}
	report(b, "network_tcp_mb_per_s", median(switched[0]), "MB/s")
	report(b, "network_tcp_per_qemu_netdev", median(switched[0])/median(direct[0]), "ratio")
	report(b, "network_tcp_timeouts", slices.Max(switched[1]), "")
	report(b, "network_tcp_timeouts_of_qemu_netdev", slices.Max(direct[1]), "")
}

// BenchmarkNetworkOfMany starts 8 machines in one network, or $VMTEST_MACHINES, one after the
// other, and lets each send the others and itself a byte by TCP, under their names. Figures are
// the times from the first start until all have joined and until all bytes have been answered,
// and the memory that is not shared of all their QEMUs then.
func BenchmarkNetworkOfMany(b *testing.B) {
	machines := 8
	if text := os.Getenv("VMTEST_MACHINES"); text != "" {
		var err error
		machines, err = strconv.Atoi(text)
		require.NoError(b, err)
	}
	holdSlot(b)
	snapshot := listening(b)
	defer snapshot.Close()
	n, err := OpenNetwork(NetworkConfig{})
	require.NoError(b, err)
	defer n.Close()
	began := time.Now()
	var all []*Machine
	for range machines {
		m := forkIn(b, snapshot, []*Network{n})
		defer m.Close()
		all = append(all, m)
	}
	joined := time.Since(began)
	for _, from := range all {
		for _, to := range all {
			conn, err := from.Dial(b.Context(), "tcp", to.Interface(n).Host+":9001")
			require.NoError(b, err)
			_, err = io.WriteString(conn, "x")
			require.NoError(b, err)
			require.NoError(b, conn.CloseWrite())
			answer, err := io.ReadAll(conn)
			require.NoError(b, err)
			require.Equal(b, "1\n", string(answer), "the bytes that the other machine has read")
			require.NoError(b, conn.Close())
		}
	}
	talked := time.Since(began)
	var private float64
	for _, m := range all {
		p, _ := memory(b, m.vm.Pid())
		private += p
	}
	report(b, fmt.Sprintf("network_of_%d_joined_s", machines), joined.Seconds(), "s")
	report(b, fmt.Sprintf("network_of_%d_talked_s", machines), talked.Seconds(), "s")
	report(b, fmt.Sprintf("network_of_%d_private_mb", machines), private, "MB")
}

// holdSlot takes a slot for all machines of the benchmark.
func holdSlot(b *testing.B) {
	slot, err := acquireSlot(context.Background(), b.Name(), benchConfig(b, Config{}))
	require.NoError(b, err)
	b.Cleanup(func() { slot.Release() })
}

// launchIn launches a machine without a slot of its own: the benchmark has one, as a test that
// starts several machines.
func launchIn(b *testing.B, networks []*Network) *Machine {
	config, err := Config{Networks: networks}.complete()
	require.NoError(b, err)
	m, err := launcher(launch).inNetworks(context.Background(), config)
	require.NoError(b, err)
	return m
}

// firstAnswer returns the seconds from the start of a fork until systemd has answered.
func firstAnswer(b *testing.B, networks []*Network) float64 {
	began := time.Now()
	m := launchIn(b, networks)
	defer m.Close()
	_, err := m.Unit("dbus.socket").State(context.Background())
	require.NoError(b, err)
	return time.Since(began).Seconds()
}

// listening returns a snapshot of a machine with two servers. At port 9000 a program waits for
// the first client, to send it a byte. At port 9001 a socket unit counts the bytes of each client
// and sends it their number.
func listening(b *testing.B) *Snapshot {
	ctx := context.Background()
	m := machine(b, benchConfig(b, Config{NICs: 1}))
	defer m.Close()
	require.NoError(b, m.WriteFile(ctx, "/run/systemd/system/sink.socket", []byte("[Socket]\nListenStream=9001\nAccept=yes\n"), 0o644))
	require.NoError(b, m.WriteFile(ctx, "/run/systemd/system/sink@.service", []byte("[Service]\nExecStart=wc -c\nStandardInput=socket\n"), 0o644))
	require.NoError(b, m.Unit("sink.socket").Start(ctx))
	_, err := m.Run(ctx, "systemd-run", "--quiet", "sh", "-c", "printf x | nc -l 9000")
	require.NoError(b, err)
	_, err = m.Run(ctx, "sh", "-c", "until grep -q ':2328 00000000:0000 0A' /proc/net/tcp; do :; done") // listens (proc_pid_net(5))
	require.NoError(b, err)
	s, err := m.Snapshot(ctx)
	require.NoError(b, err)
	return s
}

// forkIn is launchIn of a fork of a snapshot.
func forkIn(b *testing.B, s *Snapshot, networks []*Network) *Machine {
	config, err := s.forkConfig(ForkConfig{Networks: networks})
	require.NoError(b, err)
	m, err := launcher(s.fork).inNetworks(context.Background(), config)
	require.NoError(b, err)
	return m
}

// firstByte returns the seconds from the start of the first of two forks until one has sent the
// other a byte.
func firstByte(b *testing.B, s *Snapshot) float64 {
	n, err := OpenNetwork(NetworkConfig{})
	require.NoError(b, err)
	defer n.Close()
	began := time.Now()
	one, two := forkIn(b, s, []*Network{n}), forkIn(b, s, []*Network{n})
	defer one.Close()
	defer two.Close()
	conn, err := two.Dial(context.Background(), "tcp", "guest1:9000")
	require.NoError(b, err)
	defer conn.Close()
	_, err = io.ReadFull(conn, make([]byte, 1))
	require.NoError(b, err)
	return time.Since(began).Seconds()
}

// throughSwitch adds the megabytes per second of a transfer between two machines in a network,
// and the timeouts, to the samples.
func throughSwitch(b *testing.B, s *Snapshot, samples *[2][]float64) {
	n, err := OpenNetwork(NetworkConfig{})
	require.NoError(b, err)
	defer n.Close()
	one, two := forkIn(b, s, []*Network{n}), forkIn(b, s, []*Network{n})
	defer one.Close()
	defer two.Close()
	transfer(b, one.vm, two.vm, samples)
}

// throughQEMU is throughSwitch of two machines whose QEMUs have a socket pair between them.
func throughQEMU(b *testing.B, s *Snapshot, samples *[2][]float64) {
	ctx := context.Background()
	config, err := s.forkConfig(ForkConfig{})
	require.NoError(b, err)
	var ends [2]*os.File
	ends[0], ends[1], err = host.SocketPair("nic")
	require.NoError(b, err)
	var machines [2]*vm.Machine
	for n, end := range ends {
		i := config.instance()
		i.Cables = []*os.File{end}
		machines[n], err = s.snapshot.Fork(ctx, i)
		require.NoError(b, err)
		defer machines[n].Close()
		require.NoError(b, end.Close())
	}
	for n, m := range machines {
		err := m.SetNetwork(ctx, guest.Network{Interfaces: []guest.Interface{{
			Address: [6]byte{0x52, 0x54, 10, 0, 0, byte(n + 1)},
			IPv4:    netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", n+1)),
			IPv6:    netip.MustParsePrefix(fmt.Sprintf("fd00::%d/64", n+1)),
		}}})
		require.NoError(b, err)
	}
	transfer(b, machines[0], machines[1], samples)
}

// transfer sends bytes from one machine to the other, which is 10.0.0.2, until that has read
// them all. A transfer that is not measured comes first, because the emulator translates the
// code of both kernels then.
func transfer(b *testing.B, from, to *vm.Machine, samples *[2][]float64) {
	run := func(m *vm.Machine, args ...string) string {
		out := new(strings.Builder)
		err := m.Exec(b.Context(), link.Command{Args: args, Stdout: out, Stderr: out})
		require.NoError(b, err, "%v: %s", args, out)
		return out.String()
	}
	send := func(size int) {
		read := run(from, "sh", "-c", fmt.Sprintf("head -c %d /dev/zero | nc -N 10.0.0.2 9001", size))
		require.Equal(b, fmt.Sprintln(size), read, "the bytes that the other machine has read")
	}
	send(2_000_000)
	const measured = 33_000_000
	began := time.Now()
	send(measured)
	samples[0] = append(samples[0], measured/1e6/time.Since(began).Seconds())
	samples[1] = append(samples[1], tcpTimeouts(b, run(from, "cat", "/proc/net/netstat")))
}

// tcpTimeouts returns TCPTimeouts of the text of /proc/net/netstat, in which a line of names
// comes before each line of values.
func tcpTimeouts(b *testing.B, text string) float64 {
	var names []string
	for line := range strings.Lines(text) {
		values := strings.Fields(line)
		if at := slices.Index(names, "TCPTimeouts"); at >= 0 {
			n, err := strconv.ParseFloat(values[at], 64)
			require.NoError(b, err)
			return n
		}
		names = values
	}
	b.Fatalf("no TCPTimeouts in %s", text)
	return 0
}
