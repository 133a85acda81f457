package scenarios

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// resumeFails makes TestResumeFails fail.
const resumeFails = "VMTEST_RESUME_FAILS"

// TestResumeFails leaves a machine in a state that a fresh one is not in, and fails in it. Other
// tests run it in another process.
func TestResumeFails(t *testing.T) {
	if os.Getenv(resumeFails) != "1" {
		t.Skip("fails on purpose, for TestResume")
	}
	g := vmtest.Start(t, vmtest.Config{Hostname: "doomed", NICs: 1})
	t.Cleanup(func() { g.Exec(t, vmtest.Command{Args: []string{"echo", "after the failure"}}) })
	g.AddUser(t, vmtest.User{Name: "alice"})
	g.Run(t, "logger", "before the failure")
	g.Run(t, "date", "--set=2031-01-01")
	g.WriteFile(t, "/run/state", []byte("broken\n"), 0o644)
	const script = `echo "$WHAT is $(cat /run/state) for $(id -un) in $(pwd)"; echo why >&2; exit 7`
	r := g.Exec(t, vmtest.Command{Args: []string{"sh", "-c", script}, Env: []string{"WHAT=it"}, Dir: "/tmp", User: "alice"})
	require.Equal(t, 0, r.ExitCode)
}

// newFailure returns a command that runs TestResumeFails, which leaves evidence in place.
func newFailure(t *testing.T, place string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestResumeFails$", "-test.timeout=8m")
	cmd.Env = append(os.Environ(), resumeFails+"=1", "VMTEST_EVIDENCE="+place, "VMTEST_EVIDENCE_SNAPSHOT=1")
	return cmd
}

// failAndKeep runs TestResumeFails and returns the directory of its evidence, and its log.
func failAndKeep(t *testing.T, place string) (dir, log string) {
	t.Helper()
	out, err := newFailure(t, place).CombinedOutput()
	require.Error(t, err, "%s", out)
	last := regexp.MustCompile(`\n *evidence: (/\S+)\n`).FindSubmatch(out)
	require.NotNil(t, last, "%s", out)
	return string(last[1]), string(out)
}

// vmtestBinary builds the command.
func vmtestBinary(t *testing.T) string {
	t.Helper()
	needGo(t)
	binary := filepath.Join(t.TempDir(), "vmtest")
	out, err := exec.Command("go", "build", "-o", binary, "example.org/systemd-vmtest/vmtest/cmd/vmtest").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// resumed is what a call of vmtest resume printed, and its exit status.
type resumed struct {
	out, err string
	status   int
}

func resume(t *testing.T, binary string, env []string, args ...string) resumed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"resume"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError))
	}
	return resumed{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// stateOf describes the files of a directory: their modes, sizes, times and names.
func stateOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			b.WriteString(strings.Join([]string{path, info.Mode().String(), info.ModTime().String()}, " ") + "\n")
		}
		return err
	}))
	return b.String()
}

// The machine of a failed test goes on in another process, as often as a person likes, and the
// command that failed does there what it did in the test.
func TestResume(t *testing.T) {
	hostSide(t)
	binary := vmtestBinary(t)
	dir, log := failAndKeep(t, t.TempDir())
	assert.Regexp(t, `\n *the machine is saved: \d+ MB, made in \d+\.\d s(, and \d+ MB of its image by hard links)?; "vmtest resume DIRECTORY" goes on from here\n *evidence: /`, log)
	t.Log(regexp.MustCompile(`the machine is saved: .*`).FindString(log))
	before := stateOf(t, dir)

	want := resumed{
		out: "it is broken for alice in /tmp\n",
		err: "(?s)^(vmtest: (checking and resuming|[^\n]*waiting for)[^\n]*\n)*vmtest: the machine of TestResumeFails on debian-13 .systemd .*, as it was at 20.* UTC\n" +
			"vmtest: in the test as alice: \\$ sh -c 'echo .*\n  \\| it is broken for alice in /tmp\n  \\| why\n" +
			"vmtest: in the test it exited with 7 after .*\nvmtest: now:\nwhy\nvmtest: now it exited with 7 after .*, as in the test\n$",
		status: 7,
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			got := resume(t, binary, nil, "--again", dir)
			assert.Equal(t, want.out, got.out)
			assert.Regexp(t, want.err, got.err)
			assert.Equal(t, want.status, got.status)
		})
	}
	both.Wait()

	// Another host has another cache, and a copy of the directory.
	other := []string{"VMTEST_CACHE=" + t.TempDir()}
	copied := filepath.Join(t.TempDir(), "copied")
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	const look = `echo changed >>/run/state; cat /run/state; hostname; date +%Y; journalctl --output=cat --identifier=root`
	for range 2 {
		got := resume(t, binary, other, copied, "--", "sh", "-c", look)
		assert.Equal(t, "broken\nchanged\ndoomed\n2031\nbefore the failure\n", got.out, "%s", got.err)
		assert.Equal(t, 0, got.status)
	}
	assert.Equal(t, before, stateOf(t, dir), "the directory is as it was")

	f, err := vmtest.OpenFailure(t.Context(), copied)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, f.Close()) })
	assert.Equal(t, "TestResumeFails", f.Test)
	assert.Equal(t, 7, f.Result.ExitCode)
	g := f.Start(t, vmtest.ForkConfig{})
	assert.Equal(t, f.Result.Stdout, g.Exec(t, f.Command).Stdout)
	g.ExpectEntry(t, vmtest.JournalQuery{Contains: "before the failure"})

	p := atTerminal(t, "example.org/systemd-vmtest/vmtest/cmd/vmtest", "resume", dir)
	p.types("", `(?s)the machine of TestResumeFails on debian-13.*[#$] $`)
	p.types("cat /run/state; stty size\n", `[\r\n]broken\r\n17 91\r\n.*# $`)
	p.types("exit 3\n", `logout|exit`)
	p.leaves(3)

	got := resume(t, binary, []string{otherQEMU(t)}, dir, "--", "true")
	assert.Regexp(t, `^vmtest: resume debian-13: QEMU of another version: it was saved by "QEMU emulator version .*", and this host has "QEMU emulator version 99" \(.*; see "QEMU" in vmtest doctor\)\n$`, got.err)
	assert.Equal(t, 3, got.status)
}

// otherQEMU returns a PATH with a QEMU of another version.
func otherQEMU(t *testing.T) string {
	dir := t.TempDir()
	for _, name := range []string{"qemu-system-x86_64", "qemu-system-aarch64"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho QEMU emulator version 99\n"), 0o755))
	}
	return "PATH=" + dir + ":" + os.Getenv("PATH")
}

// A machine whose PID 1 does not answer is kept, and a command runs there all the same.
func TestResumeOfAStuckMachine(t *testing.T) {
	hostSide(t)
	binary := vmtestBinary(t)
	place := t.TempDir()
	t.Setenv("VMTEST_EVIDENCE", place)
	t.Setenv("VMTEST_EVIDENCE_SNAPSHOT", "1")
	log := evidence(t, func(g *vmtest.Guest) {
		g.Run(t, "logger", "before the failure")
		g.Run(t, "sh", "-c", freezePID1)
	})
	assert.Regexp(t, `\nthe machine is saved: `, log)
	dirs := fileNames(t, place)
	require.Len(t, dirs, 1)
	for range 2 {
		got := resume(t, binary, nil, filepath.Join(place, dirs[0]), "--", "sh", "-c", "journalctl --output=cat --identifier=root; date +%Y; grep ^State: /proc/1/status; timeout 2 systemctl is-system-running")
		assert.Regexp(t, fmt.Sprintf(`^before the failure\n%d\nState:\t[DS].*\n$`, time.Now().UTC().Year()), got.out)
		assert.Equal(t, 124, got.status, "timeout(1): %s", got.err)
	}
}

// A guest that cannot be stopped at a point from which it could go on is not kept, and the
// evidence says why.
func TestMachineThatIsNotKept(t *testing.T) {
	hostSide(t)
	t.Setenv("VMTEST_EVIDENCE_SNAPSHOT", "1")
	for _, test := range []struct {
		name, why string
		work      func(*testing.T, *vmtest.Guest)
	}{
		{"gone", "the guest is gone: Kill ended it", func(t *testing.T, g *vmtest.Guest) { g.Kill(t) }},
		{"agent", "the agent did not answer within .*", func(t *testing.T, g *vmtest.Guest) {
			require.Error(t, runFor(t, g, time.Second, "kill -STOP $PPID; sleep 98765"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			files, log := evidenceFiles(t, func(g *vmtest.Guest) { test.work(t, g) })
			assert.Regexp(t, `\nthe machine is not saved: it cannot be stopped for a snapshot: `+test.why+`\nevidence: `, log)
			assert.Regexp(t, "^it cannot be stopped for a snapshot: "+test.why+"\n$", files["no-machine.txt"])
			assert.NotContains(t, files, "machine/machine.json")
		})
	}
}
