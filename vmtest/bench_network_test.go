package vmtest

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// BenchmarkNetwork compares a fork in a network with one that is in none, until systemd's first
// answer; two joined forks, until the first byte between them, with that fork; and TCP between
// two guests with TCP between the same whose streams of frames are copied without a switch.
func BenchmarkNetwork(b *testing.B) {
	ctx := context.Background()
	for _, nics := range []int{0, 1} { // makes the snapshots
		m, err := Launch(ctx, Config{NICs: nics})
		require.NoError(b, err)
		m.Close()
	}
	config, err := Config{}.complete()
	require.NoError(b, err)
	slot, err := acquireSlot(ctx, b.Name(), config)
	require.NoError(b, err)
	defer slot.Release()
	snapshot := listening(b)
	defer snapshot.Close()
	for range b.N {
		var alone, joined, pair, switched, copied []float64
		for range 5 {
			alone = append(alone, firstAnswer(b, nil))
			n, err := OpenNetwork(NetworkConfig{})
			require.NoError(b, err)
			joined = append(joined, firstAnswer(b, []*Network{n}))
			require.NoError(b, n.Close())
			pair = append(pair, firstByte(b, snapshot))
		}
		for range 3 {
			switched = append(switched, throughSwitch(b))
			copied = append(copied, throughCopy(b))
		}
		b.ReportMetric(median(alone), "s/fork-answer")
		b.ReportMetric(median(joined)/median(alone), "network/none")
		b.ReportMetric(median(pair)/median(alone), "two-joined/fork")
		b.ReportMetric(median(switched), "MB/s-TCP")
		b.ReportMetric(median(switched)/median(copied), "switch/copy")
	}
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

// listening returns a snapshot of a machine in which a socket unit echoes at port 9000.
func listening(b *testing.B) *Snapshot {
	ctx := context.Background()
	config, err := Config{NICs: 1}.complete()
	require.NoError(b, err)
	m, err := launch(ctx, config)
	require.NoError(b, err)
	defer m.Close()
	_, err = m.Run(ctx, "systemd-run", "--quiet", "--unit=echo", "--socket-property=ListenStream=9000", "--socket-property=Accept=yes",
		"--property=StandardInput=socket", "cat")
	require.NoError(b, err)
	s, err := m.Snapshot(ctx)
	require.NoError(b, err)
	return s
}

// firstByte returns the seconds from the start of the first of two forks until one has connected
// to the other.
func firstByte(b *testing.B, s *Snapshot) float64 {
	ctx := context.Background()
	n, err := OpenNetwork(NetworkConfig{})
	require.NoError(b, err)
	defer n.Close()
	fork := func() *Machine {
		config, err := s.forkConfig(ForkConfig{Networks: []*Network{n}})
		require.NoError(b, err)
		m, err := launcher(s.fork).inNetworks(ctx, config)
		require.NoError(b, err)
		return m
	}
	began := time.Now()
	one, two := fork(), fork()
	defer one.Close()
	defer two.Close()
	conn, err := two.Dial(ctx, "tcp", "guest1:9000")
	require.NoError(b, err)
	defer conn.Close()
	return time.Since(began).Seconds()
}

const transferred = 33_000_000 // bytes

// throughSwitch returns the megabytes per second of a transfer between two machines in a network.
func throughSwitch(b *testing.B) float64 {
	n, err := OpenNetwork(NetworkConfig{})
	require.NoError(b, err)
	defer n.Close()
	one, two := launchIn(b, []*Network{n}), launchIn(b, []*Network{n})
	defer one.Close()
	defer two.Close()
	return transferred / 1e6 / transfer(b, one.vm, two.vm, transferred).Seconds()
}

// throughCopy is throughSwitch without a switch.
func throughCopy(b *testing.B) float64 {
	ctx := context.Background()
	config, err := Config{NICs: 1}.complete()
	require.NoError(b, err)
	spec, err := config.spec(ctx)
	require.NoError(b, err)
	var machines [2]*vm.Machine
	for n := range machines {
		machines[n], err = vm.ForkBase(ctx, spec)
		require.NoError(b, err)
		defer machines[n].Close()
	}
	go io.Copy(machines[0].NIC(0), machines[1].NIC(0))
	go io.Copy(machines[1].NIC(0), machines[0].NIC(0))
	for n, m := range machines {
		err := m.SetNetwork(ctx, guest.Network{Interfaces: []guest.Interface{{
			Address: [6]byte{2, 0, 0, 0, 0, byte(n + 1)},
			IPv4:    netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", n+1)),
			IPv6:    netip.MustParsePrefix(fmt.Sprintf("fd00::%d/64", n+1)),
		}}})
		require.NoError(b, err)
	}
	return transferred / 1e6 / transfer(b, machines[0], machines[1], transferred).Seconds()
}

// transfer sends bytes from one machine to the other, which is 10.0.0.2, and returns how long it
// took until the other had read them all.
func transfer(b *testing.B, from, to *vm.Machine, size int) time.Duration {
	run := func(m *vm.Machine, args ...string) {
		out := new(strings.Builder)
		err := m.Exec(context.Background(), link.Command{Args: args, Stdout: out, Stderr: out})
		require.NoError(b, err, "%v: %s", args, out)
	}
	run(to, "systemd-run", "--quiet", "--unit=sink", "--socket-property=ListenStream=9000", "--socket-property=Accept=yes",
		"--property=StandardInput=socket", "--property=StandardOutput=null", "cat")
	began := time.Now()
	run(from, "sh", "-c", fmt.Sprintf("head -c %d /dev/zero | nc -N 10.0.0.2 9000 >/dev/null", size))
	return time.Since(began)
}
