package vmtest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// Verification says which units systemd-analyze verify checks, and which findings count.
type Verification struct {
	// Units are names of units, such as "demo.socket", or paths of unit files in the
	// guest.
	Units []string
	// Accept are regular expressions. A finding whose String matches one does not count.
	// An expression that matches no finding is an error: it would hide the next fault.
	Accept []string
	// All also returns findings about other units that systemd-analyze loads because
	// Units depend on them.
	All bool
}

// Finding is one line that systemd-analyze verify reported.
type Finding struct {
	Unit string // the unit with the fault, or ""
	File string // the path of the file in the guest, or ""
	Line int    // in File, from 1 on, or 0
	Text string // without the unit, file and line
}

// String returns the finding as systemd-analyze prints it, safe to print.
func (f Finding) String() string { return systemd.Finding(f).String() }

// VerifyError reports that systemd-analyze verify had findings about units.
type VerifyError struct {
	Units    []string
	Findings []Finding
}

// Error returns the units on the first line and a finding on each line below it.
func (e *VerifyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "verify %s: systemd-analyze reported:", strings.Join(e.Units, " "))
	for _, f := range e.Findings {
		b.WriteString("\n" + f.String())
	}
	return b.String()
}

// Verify runs systemd-analyze verify on units, each the name of a unit or the path of a
// unit file in the guest. Any finding about them is a *[VerifyError], also one with which
// systemd-analyze exits with 0, such as a misspelt directive. Findings is for the rest: to
// accept a finding, or to see those about other units too.
func (m *Machine) Verify(ctx context.Context, units ...string) error {
	findings, err := m.Findings(ctx, Verification{Units: units})
	if err == nil && len(findings) > 0 {
		err = &VerifyError{Units: units, Findings: findings}
	}
	return err
}

// Findings runs systemd-analyze verify on v.Units and returns the findings that v.Accept does
// not match. They include those about no unit in particular. systemd-analyze does not look
// for manual pages, because guests have none.
func (m *Machine) Findings(ctx context.Context, v Verification) ([]Finding, error) {
	findings, err := m.findings(ctx, v)
	if err != nil {
		err = fmt.Errorf("verify %s: %w", strings.Join(v.Units, " "), err)
	}
	return findings, err
}

func (m *Machine) findings(ctx context.Context, v Verification) ([]Finding, error) {
	accept, err := systemd.NewAcceptance(v.Accept)
	if err != nil {
		return nil, err
	}
	all, err := m.verifier().Findings(ctx, v.Units, v.All)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, f := range accept.Rest(all) {
		findings = append(findings, Finding(f))
	}
	return findings, accept.Unused()
}

func (m *Machine) verifier() systemd.Verifier {
	return systemd.Verifier{
		Exec: func(ctx context.Context, args []string) (string, int, error) {
			env, err := m.verifyEnv(ctx)
			if err != nil {
				return "", 0, err
			}
			r, err := m.run(ctx, Command{Args: m.scoped(args), Env: env})
			if isExit(err) && r.Signal == "" {
				err = nil
			}
			return string(r.Stdout) + string(r.Stderr), r.ExitCode, err
		},
		UnitFile: func(ctx context.Context, unit string) (string, error) {
			conn, err := m.Systemd(ctx)
			if err != nil {
				return "", err
			}
			property, err := conn.GetUnitPropertyContext(ctx, unit, "FragmentPath")
			if err != nil {
				return "", fmt.Errorf("read FragmentPath of %s: %w", unit, err)
			}
			file, _ := property.Value.Value().(string)
			return file, nil
		},
	}
}

// verifyEnv returns the environment for systemd-analyze verify. Before version 258 it puts a
// socket of its own in the place of that of the user's systemd
// (https://github.com/systemd/systemd/issues/36540). So it gets another directory, with
// links to the unit files in the user's.
func (m *Machine) verifyEnv(ctx context.Context) ([]string, error) {
	env := []string{"SYSTEMD_COLORS=0"}
	if m.user == nil || m.Image().SystemdMajor >= 258 {
		return env, nil
	}
	const script = `mkdir -p "$2/systemd" && cd "$1/systemd" && ln -sfn -t "$2/systemd" "$PWD/user" "$PWD/user.control" "$PWD/transient"`
	dir := fmt.Sprintf("/run/user/%d", m.user.UID)
	own := dir + "/vmtest-verify"
	_, err := m.Run(ctx, "sh", "-c", script, "sh", dir, own)
	return append(env, "XDG_RUNTIME_DIR="+own), err
}

// Verify fails the test if systemd-analyze verify has findings about the units, as
// Machine.Verify.
func (g *Guest) Verify(t testing.TB, units ...string) {
	t.Helper()
	g.do(t, func(ctx context.Context) error { return g.Machine.Verify(ctx, units...) })
}

// Findings returns what systemd-analyze verify reported and v does not accept, as
// Machine.Findings.
func (g *Guest) Findings(t testing.TB, v Verification) []Finding {
	t.Helper()
	return get(t, g, func(ctx context.Context) ([]Finding, error) { return g.Machine.Findings(ctx, v) })
}
