package vmtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// timed adds the time that f takes to samples, in seconds.
func timed(samples *[]float64, f func()) {
	begin := time.Now()
	f()
	*samples = append(*samples, time.Since(begin).Seconds())
}

// BenchmarkState measures the typed state of a unit against systemctl show.
func BenchmarkState(b *testing.B) {
	c := benchConfig(b, Config{})
	var state, property, shown, show, reload, reloadCommand []float64
	for range 3 {
		m := machine(b, c)
		require.NoError(b, m.CopyFS(b.Context(), os.DirFS("../scenarios/testdata/guide"), m.Image().UnitDir()))
		u := m.Unit("demo-echo.socket")
		require.NoError(b, u.Start(b.Context()))
		for range 7 {
			timed(&state, func() {
				s, err := u.State(b.Context())
				require.NoError(b, err)
				require.Equal(b, "listening", s.SubState)
			})
			timed(&property, func() { require.NoError(b, u.Property(b.Context(), "NAccepted", new(int))) })
			timed(&shown, func() {
				p, err := u.Show(b.Context(), "ActiveState", "SubState", "NAccepted")
				require.NoError(b, err)
				require.Equal(b, "listening", p["SubState"])
			})
			timed(&show, func() {
				_, err := m.Run(b.Context(), "systemctl", "show", u.Name())
				require.NoError(b, err)
			})
		}
		for range 3 {
			timed(&reload, func() { require.NoError(b, m.DaemonReload(b.Context())) })
			timed(&reloadCommand, func() {
				_, err := m.Run(b.Context(), "systemctl", "daemon-reload")
				require.NoError(b, err)
			})
		}
		m.Close()
	}
	report(b, "state_s", median(state), "s")
	report(b, "state_per_systemctl_show", median(state)/median(show), "ratio")
	report(b, "property_per_systemctl_show", median(property)/median(show), "ratio")
	report(b, "show_per_systemctl_show", median(shown)/median(show), "ratio")
	report(b, "reload_per_systemctl_daemon_reload", median(reload)/median(reloadCommand), "ratio")
}

// BenchmarkJournal measures a query of the journal on the host, which waits for what was logged
// before, against journalctl in the guest: the first of each in a fork of its own, and later
// ones.
func BenchmarkJournal(b *testing.B) {
	c := benchConfig(b, Config{})
	query := func(m *Machine) {
		entries, err := m.Journal(b.Context(), JournalQuery{Unit: "systemd-journald.service", Last: 10})
		require.NoError(b, err)
		require.NotEmpty(b, entries)
	}
	command := func(m *Machine) {
		out, err := m.Run(b.Context(), "journalctl", "-u", "systemd-journald.service", "-n", "10", "--no-pager")
		require.NoError(b, err)
		require.NotEmpty(b, out)
	}
	var first, again [2][]float64
	for range 8 {
		for i, do := range []func(*Machine){query, command} {
			m := machine(b, c)
			timed(&first[i], func() { do(m) })
			for range 3 {
				timed(&again[i], func() { do(m) })
			}
			m.Close()
		}
	}
	report(b, "journal_s", median(first[0]), "s")
	report(b, "journal_per_journalctl", median(first[0])/median(first[1]), "ratio")
	report(b, "journal_again_per_journalctl", median(again[0])/median(again[1]), "ratio")
}

// BenchmarkForkToAnswer measures the start of a fork until PID 1 has answered with a typed
// property, against a bare restore of QEMU, and on another fork with all that State reads.
func BenchmarkForkToAnswer(b *testing.B) {
	c := benchConfig(b, Config{})
	machine(b, c).Close()
	var restore, woken, answer, state []float64
	for range 20 {
		begin := time.Now()
		m := machine(b, c)
		woken = append(woken, time.Since(begin).Seconds())
		restore = append(restore, m.vm.Resumed().Sub(begin).Seconds())
		var active string
		require.NoError(b, m.Unit("basic.target").Property(b.Context(), "ActiveState", &active))
		answer = append(answer, time.Since(begin).Seconds())
		require.Equal(b, "active", active)
		m.Close()

		begin = time.Now()
		m = machine(b, c)
		_, err := m.Unit("basic.target").State(b.Context())
		require.NoError(b, err)
		state = append(state, time.Since(begin).Seconds())
		m.Close()
	}
	report(b, "fork_woken_per_bare_restore", median(woken)/median(restore), "ratio")
	report(b, "fork_to_typed_answer_s", median(answer), "s")
	report(b, "fork_to_typed_answer_per_bare_restore", median(answer)/median(restore), "ratio")
	report(b, "fork_to_state_per_bare_restore", median(state)/median(restore), "ratio")
}

// typedGuide does the job of guide by typed calls. Without reload it leaves out DaemonReload,
// as EnableNow makes systemd read unit files again.
func typedGuide(ctx context.Context, m *Machine, reload bool) error {
	dir := m.Image().UnitDir()
	if err := m.CopyFS(ctx, os.DirFS("../scenarios/testdata/guide"), dir); err != nil {
		return err
	}
	if err := m.Verify(ctx, dir+"/demo-echo@.service", dir+"/demo-echo.socket"); err != nil {
		return err
	}
	if reload {
		if err := m.DaemonReload(ctx); err != nil {
			return err
		}
	}
	if _, err := m.EnableNow(ctx, "demo-echo.socket"); err != nil {
		return err
	}
	u := m.Unit("demo-echo.socket")
	if s, err := u.State(ctx); err != nil || s.SubState != "listening" {
		return fmt.Errorf("%v: %w", s, err)
	}
	conn, err := m.Dial(ctx, "tcp", "127.0.0.1:9091")
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "socket activation works\n"); err != nil {
		return err
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "socket activation works\n" {
		return fmt.Errorf("the daemon answers %q: %w", line, err)
	}
	if err := conn.Close(); err != nil {
		return err
	}
	if s, err := u.State(ctx); err != nil || s.NAccepted != 1 {
		return fmt.Errorf("%v: %w", s, err)
	}
	entries, err := m.Journal(ctx, JournalQuery{Unit: "demo-echo.socket", Last: 10})
	if err == nil && len(entries) == 0 {
		err = fmt.Errorf("the journal is empty")
	}
	return err
}

// BenchmarkTypedGuide measures the guide's job by typed calls against the same job by its
// commands, on forks of the same snapshot, one after the other.
func BenchmarkTypedGuide(b *testing.B) {
	c := benchConfig(b, Config{})
	machine(b, c).Close()
	var typed, commands, typedFork, commandsFork []float64
	for range 7 {
		timed(&typedFork, func() {
			m := machine(b, c)
			defer m.Close()
			timed(&typed, func() { require.NoError(b, typedGuide(b.Context(), m, true)) })
		})
		timed(&commandsFork, func() {
			m := machine(b, c)
			defer m.Close()
			timed(&commands, func() {
				_, err := guide(b.Context(), m)
				require.NoError(b, err)
			})
		})
	}
	report(b, "guide_typed_s", median(typed), "s")
	report(b, "guide_typed_fork_s", median(typedFork), "s")
	report(b, "guide_typed_per_commands", median(typed)/median(commands), "ratio")
	report(b, "guide_typed_fork_per_commands_fork", median(typedFork)/median(commandsFork), "ratio")
}
