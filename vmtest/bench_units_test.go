package vmtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
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
	var state, property, show, reload, reloadCommand []float64
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
	report(b, "reload_per_systemctl_daemon_reload", median(reload)/median(reloadCommand), "ratio")
}

// BenchmarkForkToState measures the start of a fork until PID 1 has answered with the typed
// state of a unit, against a bare restore of QEMU.
func BenchmarkForkToState(b *testing.B) {
	c := benchConfig(b, Config{})
	machine(b, c).Close()
	var restore, answer []float64
	for range 20 {
		begin := time.Now()
		m := machine(b, c)
		restore = append(restore, m.vm.Resumed().Sub(begin).Seconds())
		_, err := m.Unit("basic.target").State(b.Context())
		require.NoError(b, err)
		answer = append(answer, time.Since(begin).Seconds())
		m.Close()
	}
	report(b, "fork_to_state_s", median(answer), "s")
	report(b, "fork_to_state_per_bare_restore", median(answer)/median(restore), "ratio")
}

// BenchmarkWait measures how long after the bare signal of systemd a wait returns.
func BenchmarkWait(b *testing.B) {
	m := machine(b, benchConfig(b, Config{}))
	defer m.Close()
	ctx := b.Context()
	conn, err := m.Dial(ctx, "unix", "/run/systemd/private")
	require.NoError(b, err)
	require.NoError(b, conn.SetDeadline(time.Time{}))
	raw, err := godbus.NewConn(conn)
	require.NoError(b, err)
	defer raw.Close()
	require.NoError(b, raw.Auth([]godbus.Auth{godbus.AuthExternal("0")}))
	signals := make(chan *godbus.Signal, 4096)
	raw.Signal(signals)
	var wait, property []float64
	for i := range 20 {
		name := fmt.Sprintf("sleeper%d.service", i)
		u, err := m.StartTransient(ctx, name, dbus.PropExecStart([]string{m.Image().BinDir() + "/sleep", "infinity"}, false))
		require.NoError(b, err)
		var returned time.Time
		var waits errgroup.Group // only the benchmark's goroutine may call FailNow
		waits.Go(func() error {
			defer func() { returned = time.Now() }()
			if i%2 == 0 {
				return u.Wait(ctx, "inactive")
			}
			return u.WaitProperty(ctx, "ActiveState", "inactive")
		})
		time.Sleep(300 * time.Millisecond) // the wait has looked
		require.NoError(b, u.Kill(ctx, 15))
		seen := bareSignal(b, signals, name)
		require.NoError(b, waits.Wait())
		after := returned.Sub(seen).Seconds() * 1000
		if i%2 == 0 {
			wait = append(wait, after)
		} else {
			property = append(property, after)
		}
	}
	report(b, "wait_after_signal_ms", median(wait), "ms")
	report(b, "wait_property_after_signal_ms", median(property), "ms")
}

// bareSignal returns when the signal arrived that a unit is inactive.
func bareSignal(b *testing.B, signals chan *godbus.Signal, unit string) time.Time {
	path := godbus.ObjectPath("/org/freedesktop/systemd1/unit/" + dbus.PathBusEscape(unit))
	for {
		select {
		case s := <-signals:
			if s.Path != path || len(s.Body) < 2 {
				continue
			}
			changed, _ := s.Body[1].(map[string]godbus.Variant)
			if changed["ActiveState"].Value() == "inactive" {
				return time.Now()
			}
		case <-time.After(time.Minute):
			b.Fatal("no signal")
		}
	}
}

// typedGuide does the job of guide by typed calls.
func typedGuide(ctx context.Context, m *Machine) error {
	dir := m.Image().UnitDir()
	if err := m.CopyFS(ctx, os.DirFS("../scenarios/testdata/guide"), dir); err != nil {
		return err
	}
	if err := m.Verify(ctx, dir+"/demo-echo@.service", dir+"/demo-echo.socket"); err != nil {
		return err
	}
	if err := m.DaemonReload(ctx); err != nil {
		return err
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
			timed(&typed, func() { require.NoError(b, typedGuide(b.Context(), m)) })
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
