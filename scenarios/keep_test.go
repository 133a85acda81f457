package scenarios

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/lack"
	"example.org/systemd-vmtest/vmtest"
)

// keptMark is in the environment of processes in which TestKept fails.
const keptMark = "VMTEST_KEPT_TEST"

// TestKept is run by the tests of what is kept, in a process of its own. It has two tests with
// a machine, which fail.
func TestKept(t *testing.T) {
	names := os.Getenv(keptMark)
	if names == "" {
		t.Skip("run by other tests")
	}
	for _, name := range strings.Split(names, ",") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := vmtest.Start(t, vmtest.Config{})
			of, _, _ := strings.Cut(name, "-")
			g.WriteFile(t, "/root/of", []byte(of), 0o644)
			t.Error("it fails")
		})
	}
}

// keeper is a process whose failed tests are kept.
type keeper struct {
	t      *testing.T
	cmd    *exec.Cmd
	vmtest string // the command
	lines  *bufio.Reader
	ended  func() (string, error) // waits for it, and returns what it printed from then on
}

// keep starts a process with TestKept, and returns when its machines are kept.
func keep(t *testing.T, names string, flags ...string) *keeper {
	t.Helper()
	hostSide(t)
	needGo(t)
	binary := filepath.Join(t.TempDir(), "vmtest")
	out, err := exec.Command("go", "build", "-o", binary, "example.org/systemd-vmtest/vmtest/cmd/vmtest").CombinedOutput()
	require.NoError(t, err, "%s", out)
	runtime.LockOSThread() // the signal comes with the end of the thread
	t.Cleanup(runtime.UnlockOSThread)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // also for its wait for a slot
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"-test.run=^TestKept$", "-test.v"}, flags...)...)
	k := &keeper{t: t, cmd: cmd, vmtest: binary}
	var marked []string
	for _, name := range strings.Split(names, ",") {
		marked = append(marked, k.named(name+"#"))
	}
	// A machine that is kept holds its slot, and nothing here is about the queue.
	cmd.Env = append(os.Environ(), keptMark+"="+strings.Join(marked, ","), "VMTEST_KEEP=1", "VMTEST_SLOTS=64")
	// Without a terminal it writes to stderr. It must not outlive this process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	require.NoError(t, cmd.Start())
	k.lines = bufio.NewReader(r)
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait(); w.Close() }()
	k.ended = sync.OnceValues(func() (string, error) {
		rest, _ := io.ReadAll(k.lines)
		return string(rest), <-waited
	})
	t.Cleanup(func() { k.kill() })
	for range strings.Split(names, ",") {
		k.prints(`^vmtest: or until Ctrl-C, `)
	}
	return k
}

// named returns text with this process in the place of each "#", so that machines of two runs on
// one host have names of their own.
func (k *keeper) named(text string) string {
	return strings.ReplaceAll(text, "#", fmt.Sprintf("-%d", os.Getpid()))
}

func (k *keeper) kill() {
	_ = k.cmd.Process.Kill() // unless it has ended
	_, _ = k.ended()
}

// prints waits for a line.
func (k *keeper) prints(pattern string) {
	k.t.Helper()
	pattern = k.named(pattern)
	for {
		line, err := k.lines.ReadString('\n')
		require.NoError(k.t, err, "wait for a line of %s", pattern)
		k.t.Log(strings.TrimSpace(line))
		if regexp.MustCompile(pattern).MatchString(strings.TrimSuffix(line, "\n")) {
			return
		}
	}
}

// run runs vmtest, and returns what it prints.
func (k *keeper) run(args ...string) (string, error) {
	k.t.Helper()
	for i := range args {
		args[i] = k.named(args[i])
	}
	cmd := exec.CommandContext(k.t.Context(), k.vmtest, args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// says runs vmtest, which must succeed and print a text.
func (k *keeper) says(want string, args ...string) {
	k.t.Helper()
	out, err := k.run(args...)
	require.NoError(k.t, err, "%v: %s", args, out)
	assert.Equal(k.t, want, out, "%v", args)
}

// fails waits until the process has ended, whose tests must have failed for their own reason.
func (k *keeper) fails(printed string) {
	k.t.Helper()
	out, err := k.ended()
	var exit *exec.ExitError
	require.ErrorAs(k.t, err, &exit)
	assert.Equal(k.t, 1, exit.ExitCode(), "%s", out)
	assert.Regexp(k.t, k.named(printed), out)
	assert.Contains(k.t, out, "--- FAIL: TestKept/")
}

// Two failed tests keep their machines at once. Each goes on when it is released.
func TestKeepTwo(t *testing.T) {
	k := keep(t, "One,Two", "-test.parallel=2")
	k.says("One", "run", "--attach", "TestKept/One#", "cat", "/root/of")
	k.says("Two", "run", "--attach", "TestKept_Two#", "cat", "/root/of")
	out, err := k.run("run", "--attach", "TestKept_One#", "sh", "-c", "exit 3")
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 3, exit.ExitCode(), "%s", out)
	out, err = k.run("run", "--attach", "TestKept_Three", "true")
	require.Error(t, err)
	assert.Regexp(t, k.named(`^vmtest: find machine: "TestKept_Three" is not held; held: .*TestKept_One#.*TestKept_Two#`), out)
	k.says("", "release", "TestKept_One#")
	k.prints(`^vmtest: TestKept_One# is kept no longer: released$`)
	k.says("Two", "run", "--attach", "TestKept_Two#", "cat", "/root/of")
	out, err = k.run("run", "--attach", "TestKept_Two#")
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 2, exit.ExitCode(), "%s", out)
	assert.Contains(t, out, k.named("no command for TestKept_Two#"))
	k.says("", "release", "TestKept_Two#")
	k.fails(`(?s)vmtest: TestKept_Two# is kept no longer: released.*--- FAIL: TestKept/Two#`)
}

// Ctrl-C ends what is kept, and the test goes on to its end.
func TestKeepInterrupted(t *testing.T) {
	k := keep(t, "One")
	require.NoError(t, k.cmd.Process.Signal(os.Interrupt))
	k.fails(`vmtest: TestKept_One# is kept no longer: interrupted\n`)
}

// The test binary's own time ends what is kept, early enough for the test to end by itself.
func TestKeepUntilTheTimeIsUp(t *testing.T) {
	t.Parallel()
	k := keep(t, "One", "-test.timeout=60s")
	k.fails(`vmtest: TestKept_One# is kept no longer: the test's time is up \(go test -timeout\)`)
}

// A guest that is gone is not kept any longer, and neither is one that was gone before.
func TestKeepOfAGuestThatIsGone(t *testing.T) {
	k := keep(t, "One")
	_, err := k.run("run", "--attach", "TestKept_One#", "sh", "-c", "echo o > /proc/sysrq-trigger; sleep 60")
	require.Error(t, err)
	k.fails(`vmtest: TestKept_One# is kept no longer: the guest has gone\n`)
}

// SIGKILL of the process that holds a machine leaves no QEMU, and no machine to attach to.
func TestKeepKilled(t *testing.T) {
	k := keep(t, "One")
	qemus := marked(t, keptMark+k.named("=One#"))
	require.Len(t, qemus, 2, "the test and QEMU: %v", qemus)
	k.kill()
	for pid := range qemus {
		waitExit(t, pid, 10*time.Second)
	}
	assert.Empty(t, marked(t, keptMark+k.named("=One#")))
	for _, command := range [][]string{{"run", "--attach", "TestKept_One#", "true"}, {"ssh-config", "TestKept_One#"}, {"release", "TestKept_One#"}} {
		out, err := k.run(command...)
		require.Error(t, err, "%v", command)
		assert.Contains(t, out, "vmtest: find machine: ", "%v", command)
	}
	cache, err := host.CacheDir()
	require.NoError(t, err)
	assert.NoDirExists(t, filepath.Join(cache, k.named("machines/TestKept_One#")))
}

// OpenSSH's own programs reach a guest that has neither a network nor an SSH server.
func TestSSHConfig(t *testing.T) {
	for _, program := range []string{"ssh", "scp", "sftp"} {
		if _, err := exec.LookPath(program); err != nil {
			lack.Skip(t, "no "+program+" on PATH: install openssh-client")
		}
	}
	k := keep(t, "One")
	config, err := k.run("ssh-config", "TestKept_One#")
	require.NoError(t, err, "%s", config)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/config", []byte(config), 0o600))
	var stdin io.Reader
	stock := func(program string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		for i := range args {
			args[i] = k.named(args[i])
		}
		cmd := exec.CommandContext(ctx, program, append([]string{"-F", dir + "/config"}, args...)...)
		cmd.Stdin = stdin
		out, err := cmd.CombinedOutput()
		require.NoError(t, errors.Join(err, ctx.Err()), "%s %v: %s", program, args, out)
		return strings.ReplaceAll(string(out), "\r", "")
	}
	assert.Equal(t, "One", stock("ssh", "TestKept_One#", "cat", "/root/of"))
	assert.Regexp(t, `^/dev/pts/\d+\n`, stock("ssh", "-tt", "TestKept_One#", "tty"))
	require.NoError(t, os.WriteFile(dir+"/file", []byte("by scp\n"), 0o600))
	stock("scp", dir+"/file", "TestKept_One#:/root/file")
	stock("scp", "TestKept_One#:/root/file", dir+"/back")
	back, err := os.ReadFile(dir + "/back")
	require.NoError(t, err)
	assert.Equal(t, "by scp\n", string(back))
	require.NoError(t, os.WriteFile(dir+"/batch", fmt.Appendf(nil, "get /root/of %s/of\n", dir), 0o600))
	stock("sftp", "-b", dir+"/batch", "TestKept_One#")
	assert.FileExists(t, dir+"/of")
	stock("scp", "testdata/guide/demo-echo.socket", "testdata/guide/demo-echo@.service", "TestKept_One#:/etc/systemd/system/")
	stock("ssh", "TestKept_One#", "systemctl daemon-reload && systemctl start demo-echo.socket")
	stdin = strings.NewReader("hello\n")
	assert.Equal(t, "hello\n", stock("ssh", "-W", "127.0.0.1:9091", "TestKept_One#"))
	k.says("", "release", "TestKept_One#")
	k.fails("released")
}
