package vmtest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"example.org/systemd-vmtest/internal/tail"
)

// VerifyError reports that systemd-analyze verify printed something about units.
type VerifyError struct {
	Units  []string
	Output string // what it printed, file and line included
	Err    error  // how it ended if not with 0
}

func (e *VerifyError) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("verify %s: %v, and it printed nothing", strings.Join(e.Units, " "), e.Err)
	}
	return fmt.Sprintf("verify %s: systemd-analyze reported:\n%s", strings.Join(e.Units, " "), e.Output)
}

func (e *VerifyError) Unwrap() error { return e.Err }

// Verify runs systemd-analyze verify on unit files, named by path in the guest.
// Anything that it prints is a *VerifyError: it warns of a misspelt directive and
// still exits with 0.
func (m *Machine) Verify(ctx context.Context, paths ...string) error {
	r, err := m.run(ctx, Command{Args: append([]string{"systemd-analyze", "verify"}, paths...)})
	if err != nil && !isExit(err) {
		return err
	}
	if out := strings.TrimSpace(tail.Printable(string(append(r.Stdout, r.Stderr...)))); out != "" || err != nil {
		return &VerifyError{Units: paths, Output: out, Err: err}
	}
	return nil
}

// Verify fails the test if systemd-analyze verify prints anything about the unit files,
// as Machine.Verify.
func (g *Guest) Verify(t testing.TB, paths ...string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.Verify(ctx, paths...) })
}
