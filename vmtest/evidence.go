package vmtest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/tail"
)

// journalShown is how many lines of the journal the evidence has.
const journalShown = 60

// logEvidence logs what a guest can tell about a test that has failed.
func logEvidence(t testing.TB, m *Machine) {
	t.Helper()
	t.Log(evidence(m))
}

// evidence is what a guest can tell about a failure. One that is gone or wedged has
// its console to show.
func evidence(m *Machine) string {
	ctx, cancel := context.WithTimeout(context.Background(), evidenceTime*3/4)
	defer cancel()
	var b strings.Builder
	fmt.Fprintf(&b, "evidence from the guest (%s, systemd %s, %s)", m.Image().Name, m.Image().SystemdVersion, m.inputs.accel)
	answered := section(ctx, &b, m, "failed units", "systemctl", "list-units", "--failed", "--no-legend", "--plain", "--no-pager") &&
		section(ctx, &b, m, "jobs", "systemctl", "list-jobs", "--no-legend", "--no-pager") &&
		section(ctx, &b, m, fmt.Sprintf("journal since the test began, last %d lines", journalShown),
			"journalctl", "--boot", "--no-pager", "--output=short-precise",
			fmt.Sprintf("--since=@%d", m.began.Unix()), fmt.Sprintf("--lines=%d", journalShown))
	if !answered {
		fmt.Fprintf(&b, "\nconsole, last %d lines:", consoleShown)
		for _, line := range m.console.Lines(consoleShown) {
			b.WriteString("\n  | " + line)
		}
	}
	return b.String()
}

// section adds the output of a command, when there is any, and tells whether the
// guest answered.
func section(ctx context.Context, b *strings.Builder, m *Machine, title string, args ...string) bool {
	r, err := m.Run(ctx, Command{Args: args})
	if err != nil && !asExit(err) {
		fmt.Fprintf(b, "\n%s: %v", title, err)
		return false
	}
	text := strings.TrimSpace(tail.Printable(string(r.Stdout) + string(r.Stderr)))
	if text == "" {
		return true
	}
	fmt.Fprintf(b, "\n%s:", title)
	for line := range strings.Lines(text) {
		b.WriteString("\n  | " + strings.TrimSuffix(line, "\n"))
	}
	return true
}
