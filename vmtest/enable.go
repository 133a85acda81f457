package vmtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.org/systemd-vmtest/internal/tail"
)

// DaemonReload makes systemd read its unit files again.
func (m *Machine) DaemonReload(ctx context.Context) error {
	_, err := m.Run(ctx, "systemctl", "daemon-reload")
	return err
}

// EnableNow enables and starts units, and returns what systemctl printed: the
// symbolic links that it made. Units without an [Install] section are an error, which
// they are not to systemctl: nothing would start them after a boot.
func (m *Machine) EnableNow(ctx context.Context, units ...string) (string, error) {
	out, err := m.systemctl(ctx, slices.Concat([]string{"enable", "--now"}, m.runtime(), []string{"--"}, units))
	if err == nil && strings.Contains(out, "no installation config") {
		err = fmt.Errorf("enable %s: no [Install] section; use Start", strings.Join(units, " "))
	}
	return out, err
}

// Disable disables units, without stopping them, and returns what systemctl
// printed: the symbolic links that it removed.
func (m *Machine) Disable(ctx context.Context, units ...string) (string, error) {
	return m.systemctl(ctx, slices.Concat([]string{"disable"}, m.runtime(), []string{"--"}, units))
}

// runtime is the option that keeps links of enabled units in /run, for guests where
// no others can be made.
func (m *Machine) runtime() []string {
	if m.Image().RuntimeUnits() {
		return []string{"--runtime"}
	}
	return nil
}

// systemctl returns both streams: it reports links on stderr.
func (m *Machine) systemctl(ctx context.Context, args []string) (string, error) {
	r, err := m.run(ctx, Command{Args: append([]string{"systemctl"}, args...)})
	return tail.Printable(string(append(r.Stdout, r.Stderr...))), err
}

// DaemonReload makes systemd read its unit files again.
func (g *Guest) DaemonReload(t testing.TB) {
	t.Helper()
	g.do(t, g.Machine.DaemonReload)
}

// EnableNow enables and starts units, and returns what systemctl printed, as
// Machine.EnableNow.
func (g *Guest) EnableNow(t testing.TB, units ...string) string {
	t.Helper()
	return get(t, g, func(ctx context.Context) (string, error) { return g.Machine.EnableNow(ctx, units...) })
}

// Disable disables units, and returns what systemctl printed, as Machine.Disable.
func (g *Guest) Disable(t testing.TB, units ...string) string {
	t.Helper()
	return get(t, g, func(ctx context.Context) (string, error) { return g.Machine.Disable(ctx, units...) })
}
