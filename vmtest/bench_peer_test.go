package vmtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkPeer measures the guide's job by typed calls on a fork, start included, against
// another program that does the job by its commands, one after the other. Another figure is of
// the job without its DaemonReload.
// $VMTEST_BENCH_PEER is that program. It gets the paths of a root file system, a squashfs, and
// of the directory of the guide's units, and a number of runs. For each it prints a line that
// has "total SECONDS" and what the guide prints.
func BenchmarkPeer(b *testing.B) {
	peer := os.Getenv("VMTEST_BENCH_PEER")
	if peer == "" {
		b.Skip("VMTEST_BENCH_PEER is not set")
	}
	c := benchConfig(b, Config{})
	m := machine(b, c)
	root := m.vm.Spec().Files.Root.Name()
	m.Close()
	var fork, short, other []float64
	for range 10 {
		for _, by := range []struct {
			samples *[]float64
			reload  bool
		}{{&fork, true}, {&short, false}} {
			timed(by.samples, func() {
				m := machine(b, c)
				require.NoError(b, typedGuide(b.Context(), m, by.reload))
				m.Close()
			})
		}
		out, err := exec.CommandContext(b.Context(), peer, root, "../scenarios/testdata/guide", "1").CombinedOutput()
		require.NoError(b, err, "%s", out)
		var seconds float64
		_, total, _ := strings.Cut(string(out), "total ")
		_, err = fmt.Sscan(total, &seconds)
		require.NoError(b, err, "%s", out)
		for _, want := range []string{"SubState=listening", "socket activation works", "NAccepted=1", "Listening on"} {
			require.Contains(b, string(out), want)
		}
		other = append(other, seconds)
	}
	report(b, "peer_guide_s", median(other), "s")
	report(b, "guide_typed_fork_per_peer", median(fork)/median(other), "ratio")
	report(b, "guide_typed_fork_without_reload_per_peer", median(short)/median(other), "ratio")
}
