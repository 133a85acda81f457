package vmtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// The benchmarks take a fixed number of samples, so run them with -benchtime=1x:
//
//	go test -run '^$' -bench . -benchtime 1x -timeout 60m ./vmtest
//
// They report medians. "make bench" also writes these to bench.json.

func benchConfig(b *testing.B, c Config) Config {
	c, err := c.complete()
	require.NoError(b, err)
	return c
}

// machine launches a machine without waiting for a slot.
func machine(b testing.TB, c Config) *Machine {
	m, err := launch(b.Context(), c)
	require.NoError(b, err)
	return m
}

func runTrue(b testing.TB, m *Machine) {
	_, err := m.Run(b.Context(), "true")
	require.NoError(b, err)
}

func BenchmarkColdBoot(b *testing.B) {
	for name, c := range map[string]Config{
		"cold_boot_trimmed_s":   {ColdBoot: true},
		"cold_boot_untrimmed_s": {ColdBoot: true, Untrimmed: true},
	} {
		c := benchConfig(b, c)
		machine(b, c).Close() // make the image and the agent
		report(b, name, sample(3, func() { machine(b, c).Close() }), "s")
	}
}

func BenchmarkFork(b *testing.B) {
	c := benchConfig(b, Config{})
	machine(b, c).Close()
	var restore, answer, fork, state []float64
	for range 20 {
		begin := time.Now()
		m := machine(b, c)
		answer = append(answer, time.Since(begin).Seconds()) // the agent has answered
		restore = append(restore, m.vm.Resumed().Sub(begin).Seconds())
		runTrue(b, m)
		fork = append(fork, time.Since(begin).Seconds())
		m.Close()

		begin = time.Now()
		m = machine(b, c)
		got, err := m.vm.WaitSystemState(b.Context())
		require.NoError(b, err)
		require.Equal(b, "running", got)
		state = append(state, time.Since(begin).Seconds())
		m.Close()
	}
	report(b, "fork_answer_s", median(answer), "s")
	report(b, "fork_s", median(fork), "s")
	report(b, "fork_slowest_per_median", slices.Max(fork)/median(fork), "ratio")
	report(b, "fork_to_system_state_s", median(state), "s")
	report(b, "bare_restore_s", median(restore), "s") // the guest runs
}

// guide runs the commands of the guide on a machine, and checks the output of each. It
// returns the sum of the times that they took in the guest. Neither vmtest/cmd/vmtest,
// which shows the guide, nor scenarios, which tests it, can be imported here.
func guide(ctx context.Context, m *Machine) (sum time.Duration, err error) {
	dir := m.Image().UnitDir()
	if err := m.CopyFS(ctx, os.DirFS("../scenarios/testdata/guide"), dir); err != nil {
		return 0, err
	}
	for _, step := range []struct {
		args, want string
	}{
		{"systemd-analyze verify " + dir + "/demo-echo@.service " + dir + "/demo-echo.socket", ""},
		{"systemctl daemon-reload", ""},
		{strings.Join(slices.Concat([]string{"systemctl", "enable", "--now"}, m.runtime(), []string{"demo-echo.socket"}), " "), ""},
		{"systemctl show demo-echo.socket -p Listen -p ActiveState -p SubState", "SubState=listening"},
		{"nc -N 127.0.0.1 9091", "socket activation works"},
		{"systemctl show demo-echo.socket -p NAccepted", "NAccepted=1"},
		{"journalctl -u demo-echo.socket -n 10 --no-pager", "Listening on"},
	} {
		c := Command{Args: strings.Fields(step.args)}
		if c.Args[0] == "nc" {
			c.Stdin = strings.NewReader("socket activation works\n")
		}
		r, err := m.run(ctx, c)
		if err != nil {
			return 0, err
		}
		if !strings.Contains(string(r.Stdout), step.want) {
			return 0, fmt.Errorf("output of %s lacks %q:\n%s", c, step.want, r.Stdout)
		}
		sum += r.Duration
	}
	return sum, nil
}

// guideOnce runs the guide on a new machine.
func guideOnce(ctx context.Context, c Config) error {
	m, err := launch(ctx, c)
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = guide(ctx, m)
	return err
}

func BenchmarkGuide(b *testing.B) {
	var total, commands []float64
	c := benchConfig(b, Config{})
	machine(b, c).Close()
	for range 7 {
		begin := time.Now()
		m := machine(b, c)
		sum, err := guide(b.Context(), m)
		require.NoError(b, err)
		total = append(total, time.Since(begin).Seconds())
		commands = append(commands, total[len(total)-1]/sum.Seconds())
		m.Close()
	}
	report(b, "guide_fork_s", median(total), "s")
	report(b, "guide_per_guest_commands", median(commands), "ratio")
	for _, cold := range []struct {
		name   string
		config Config
	}{
		{"guide_cold_s", Config{ColdBoot: true}},
		{"guide_cold_untrimmed_s", Config{ColdBoot: true, Untrimmed: true}},
	} {
		c := benchConfig(b, cold.config)
		report(b, cold.name, sample(3, func() { require.NoError(b, guideOnce(b.Context(), c)) }), "s")
	}
}

func BenchmarkMemory(b *testing.B) {
	c := benchConfig(b, Config{})
	for _, n := range []int{1, 4, 8} {
		var machines []*Machine
		for range n {
			m := machine(b, c)
			_, err := guide(b.Context(), m)
			require.NoError(b, err)
			machines = append(machines, m)
		}
		var private, resident []float64
		for _, m := range machines {
			p, r := memory(b, m.vm.Pid())
			private, resident = append(private, p), append(resident, r)
		}
		for _, m := range machines {
			m.Close()
		}
		report(b, fmt.Sprintf("private_mb_at_%d_forks", n), median(private), "MB")
		report(b, fmt.Sprintf("resident_mb_at_%d_forks", n), median(resident), "MB")
	}
	report(b, "private_mb_per_fork", measured.get(b, "private_mb_at_4_forks"), "MB")
}

// memory returns the private and the resident memory of a process in MB; see
// proc_pid_smaps(5).
func memory(b *testing.B, pid int) (private, resident float64) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	require.NoError(b, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var name string
		var kib float64
		if n, _ := fmt.Sscanf(lines.Text(), "%s %f kB", &name, &kib); n != 2 {
			continue
		}
		switch name {
		case "Private_Clean:", "Private_Dirty:":
			private += kib * 1024 / 1e6
		case "Rss:":
			resident = kib * 1024 / 1e6
		}
	}
	return private, resident
}

func BenchmarkThroughput(b *testing.B) {
	c := benchConfig(b, Config{})
	machine(b, c).Close()
	for _, n := range []int{1, 2, 3, 4} {
		const each = 5
		seconds := sample(1, func() {
			var workers errgroup.Group // only the benchmark's goroutine may call FailNow
			for range n {
				workers.Go(func() error {
					for range each {
						if err := guideOnce(b.Context(), c); err != nil {
							return err
						}
					}
					return nil
				})
			}
			require.NoError(b, workers.Wait())
		})
		report(b, fmt.Sprintf("guides_per_minute_at_%d", n), float64(n*each)/seconds*60, "1/min")
	}
}

func BenchmarkRatios(b *testing.B) {
	for _, r := range []struct{ name, above, below string }{
		{"cold_boot_untrimmed_per_fork", "cold_boot_untrimmed_s", "fork_s"},
		{"fork_per_bare_restore", "fork_s", "bare_restore_s"},
		{"guide_cold_untrimmed_per_fork", "guide_cold_untrimmed_s", "guide_fork_s"},
		{"throughput_2_per_1", "guides_per_minute_at_2", "guides_per_minute_at_1"},
	} {
		report(b, r.name, measured.get(b, r.above)/measured.get(b, r.below), "ratio")
	}
}
