package scenarios

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

var update = flag.Bool("update", false, "write the golden files of TestFailures")

// failingTest names, in the environment of a process, the failing test that it runs.
const failingTest = "VMTEST_FAILING_TEST"

// TestFailures runs tests that fail on purpose, each in a process of its own as go test does.
// The evidence of each has the cause, and so has the first screen of what a user sees, which
// is testdata/failures/NAME.golden. -update writes these files.
func TestFailures(t *testing.T) {
	hostSide(t)
	needMachine(t)
	if name := os.Getenv(failingTest); name != "" {
		for _, f := range failingTests {
			if f.name == name {
				t.Run(name, func(t *testing.T) {
					g := vmtest.Start(t, f.config)
					copyUnits(t, g, "testdata/failures/units")
					g.DaemonReload(t)
					f.test(t, g)
				})
			}
		}
		return
	}
	t.Parallel()
	for _, f := range failingTests {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			testFailure(t, f)
		})
	}
}

func testFailure(t *testing.T, f failing) {
	place := t.TempDir()
	timeout, env := "10m", os.Environ()
	if f.timeout != 0 {
		timeout, env = f.timeout.String(), append(env, "VMTEST_SLOTS=100") // the time is not for the queue
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFailures$", "-test.timeout="+timeout)
	cmd.Env = append(env, failingTest+"="+f.name, "VMTEST_EVIDENCE="+place, "VMTEST_IMAGE="+imageDir(t))
	out, err := cmd.CombinedOutput()
	require.True(t, errors.As(err, new(*exec.ExitError)), "the failing test: %v\n%s", err, out)
	dirs := fileNames(t, place)
	require.Len(t, dirs, 1, "directories of evidence; output:\n%s", out)
	for file, cause := range f.cause {
		found, err := filepath.Glob(filepath.Join(place, dirs[0], file))
		require.NoError(t, err)
		if !assert.Len(t, found, 1, "files %s of the evidence", file) {
			continue
		}
		text, err := os.ReadFile(found[0])
		require.NoError(t, err)
		assert.Regexp(t, cause, string(text), "the cause in %s", file)
	}
	if runtime.GOARCH != "amd64" {
		return // the kernel's words are other ones
	}
	screen := firstScreen(normal(string(out)))
	golden := filepath.Join("testdata", "failures", f.name+".golden")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(screen), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), screen, "what a user sees was:\n%s", out)
}

// A screen of a terminal.
const (
	screenLines   = 40
	screenColumns = 120
)

// firstScreen returns the lines that a terminal shows first.
func firstScreen(text string) string {
	var b strings.Builder
	rows := 0
	for line := range strings.Lines(text) {
		if rows += 1 + len(strings.TrimRight(line, "\n"))/screenColumns; rows > screenLines {
			break
		}
		b.WriteString(line)
	}
	return b.String()
}

// normals replace what differs from run to run, from host to host, and from one update of the
// image to the next.
var normals = []struct{ pattern, by string }{
	{`(?m)^vmtest: .*\n`, ""},
	{`(?m)^.* Consumed .* CPU time.*\n`, ""}, // logged after some CPU time only
	// systemd kills the agent's journalctl with the agent, before it has sent this line or after.
	{`(?m)^ *\| \S+ systemd\[1\]: vmtest-agent\.service: .*\n`, ""},
	// On a host that is busy, the kernel says so of its clock, and a command may take too long.
	{`(?m)^.*: no evidence within .*\n`, ""},
	{`(?m)^ *\| \[ *[\d.]+\] (clocksource|hrtimer|tsc|TSC|sched_clock)\b.*\n`, ""},
	{`(evidence from the guest \([^)]*\))\n *journal since the test began[^\n]*:\n( *evidence: )`, "$1: nothing has failed there, and the journal has no more lines\n$2"},
	{`(?m)^ *journal since the test began.*:\n( *evidence: )`, "$1"},
	{`of \S+/(libc\.so\.6)`, "of $1"},
	{`\.go:\d+\) of`, ".go:LINE) of"},
	{`\(\d+ lines of the trace`, "(N lines of the trace"},
	{`guest link lost(: [^;\n]*)?`, "guest link lost"},
	{`(?s)\npanic: test timed out.*`, "\npanic: test timed out ...\n"},
	{`(?m)^( *evidence: ).*/\d{8}T\d{6}\.\d{6}-(.*)-\d+$`, "${1}PLACE/TIME-$2-N"},
	{`evidence from the guest \((\S+), systemd \S+, (tcg|kvm)\)`, "evidence from the guest ($1, systemd VERSION, ACCELERATOR)"},
	{`(not (?:done|read) within) \S+ \([^)]*\)`, "$1 TIME (WHY)"},
	{`; the guest's processor was busy for [^;\n]*`, "; the guest's processor was busy for TIME"},
	{`\d\d:\d\d:\d\d\.\d+`, "HH:MM:SS"},
	// dd may allocate once more before it dies.
	{`(?ms)^ *\| HH:MM:SS kernel: dd: page allocation failure: .*? pages hwpoisoned\n`, ""},
	// Any process may be the one that finds no memory left, for any kind of it.
	{`kernel: \S+ invoked oom-killer: gfp_mask=\S+`, "kernel: WHO invoked oom-killer: gfp_mask=WHAT,"},
	{`(kernel: CPU: .* Comm: ).* (Not tainted)`, "${1}WHO $2"},
	{`\b(\d+m)?\d+(\.\d+)?(ms|µs|s)\b`, "TIME"},
	{`_test\.go:\d+`, "_test.go:LINE"},
	{`(?m)^( *\| HH:MM:SS \S+\[)\d{2,}`, "${1}PID"},
	{`\bprocess \d+\b`, "process PID"},
	{`\bjob \d+\b`, "job N"},
	{`(?m)^( *\| )\d+( \S+ (start|stop) (running|waiting))`, "${1}N$2"},
	// The lines of a restart come from two processes, in any order.
	{`(?s)(restart counter is at 1\.\n).*(\n[^\n]*Start request repeated too quickly)`, "$1 ...$2"},
	{`\(\d+ lines of the kernel`, "(N lines of the kernel"},
	{`the guest's console, \d+ lines`, "the guest's console, N lines"},
}

// kernelLine matches a line of the kernel in the journal or on the console, numbers what varies
// in it, and trace the functions of a kernel without their numbers.
var (
	kernelLine = regexp.MustCompile(`(?m)^ *\| (HH:MM:SS kernel: |\[ *\d+\.\d+\] ).*$`)
	numbers    = regexp.MustCompile(`0x[0-9a-f]+|[0-9]+`)
	address    = regexp.MustCompile(`\b0x[0-9a-f]{6,}`)
	trace      = regexp.MustCompile(`(?m)(?:^ *\| \[ *N\.N\] +[A-Za-z_.N]+\+N/N\n)+`)
)

// normal returns text without what differs from run to run.
func normal(text string) string {
	for _, n := range normals {
		text = regexp.MustCompile(n.pattern).ReplaceAllString(text, n.by)
	}
	text = kernelLine.ReplaceAllStringFunc(text, func(line string) string { return numbers.ReplaceAllString(line, "N") })
	text = address.ReplaceAllString(text, "ADDRESS")
	return trace.ReplaceAllString(text, "              | TRACE\n")
}

// A line that is not always there changes nothing else of a screen.
func TestNormal(t *testing.T) {
	const quiet = "  evidence from the guest (debian-13, systemd 1, tcg): nothing has failed there, and the journal has no more lines\n  evidence: /a/20260101T000000.000000-T-1\n"
	const noise = "  evidence from the guest (debian-13, systemd 1, tcg)\n  journal since the test began, without the lines above:\n" +
		"    | 00:00:00.000 systemd[1]: a.service: Consumed 1.234s CPU time.\n  evidence: /a/20260101T000000.000000-T-1\n"
	assert.Equal(t, normal(quiet), normal(noise))
	jobs := "(debian-13, systemd 1, tcg)\n jobs:\n  | 7 a.service start running\n"
	assert.Equal(t, normal(jobs+" evidence: /a\n"), normal(jobs+" journal since the test began:\n  | 00:00:00.000 systemd[1]: a.service: Consumed 1s CPU time.\n evidence: /a\n"))
	words := "journal since the test began, as far as it arrived:\n | 00:00:00.000 root[9]: the last words\n"
	assert.Equal(t, normal(words), normal(words+" | 00:00:00.100 systemd[1]: vmtest-agent.service: Main process exited, code=killed, status=9/KILL\n"))
	console := "the guest's console, 1 lines:\n  | [    1.000000] sysrq: Trigger a crash\n"
	assert.Equal(t, normal(console), normal(console+"  | [    1.000001] hrtimer: interrupt took 1234567 ns\n"))
}
