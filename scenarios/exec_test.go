package scenarios

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testedModule is a module of its own whose tests run in guests by "go test -exec". It has the
// packages of testdata/exec.
type testedModule struct {
	*module
	binary string // the command vmtest
}

func newTestedModule(t *testing.T) testedModule {
	t.Helper()
	m := testedModule{newModule(t, os.Getenv("VMTEST_CACHE")), filepath.Join(t.TempDir(), "vmtest")}
	require.NoError(t, os.CopyFS(m.dir, os.DirFS("testdata/exec")))
	build := exec.Command("go", "build", "-o", m.binary, "example.org/systemd-vmtest/vmtest/cmd/vmtest")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return m
}

// goTest is a go test in guests, with flags of vmtest exec and of go test.
func (m testedModule) goTest(flags string, args ...string) (cmd *exec.Cmd, output *bytes.Buffer) {
	cmd = exec.CommandContext(m.t.Context(), "go", append([]string{"test", "-exec", m.binary + " exec " + flags}, args...)...)
	cmd.Dir = m.dir
	cmd.Env = append(m.env, "CGO_ENABLED=0", "SECRET_OF_HOST=secret", "NAMED=one", "GODEBUG=x=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what go test starts
	output = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, output
}

// The test binary of a package runs in a guest of its own, as root, with its testdata, and what
// go test asks of it comes back.
func TestExec(t *testing.T) {
	hostSide(t)
	m := newTestedModule(t)
	require.NoError(t, os.MkdirAll(filepath.Join(m.dir, "mounts/.git"), 0o700))
	results := t.TempDir()
	cmd, out := m.goTest("--env NAMED --env SET=two", "-v", "-artifacts", "-outputdir", results,
		"-coverpkg=./...", "-coverprofile=cover.out", "-memprofile=mem.out", "./mounts")
	require.NoError(t, cmd.Run(), "output:\n%s", out)
	assert.Contains(t, out.String(), "    --- PASS: TestTestdata/deep/file ")
	assert.Regexp(t, `(?m)^ok  \texample.org/templated/mounts\t[0-9.]+s\tcoverage: \d+\.\d% of statements`, out.String())
	profile, err := os.ReadFile(filepath.Join(results, "cover.out"))
	require.NoError(t, err)
	assert.Regexp(t, `mounts.go:10.\d+,11.\d+ 1 1\n`, string(profile), "a covered line")
	assert.Regexp(t, `mounts.go:\d+.\d+,\d+.\d+ 1 0\n`, string(profile), "a line that no test runs")
	mem, err := os.ReadFile(filepath.Join(results, "mem.out"))
	require.NoError(t, err)
	assert.Equal(t, "\x1f\x8b", string(mem[:2]), "a profile is compressed by gzip")
	kept := cacheFile(t, results, "_artifacts/*/kept")
	data, err := os.ReadFile(kept)
	require.NoError(t, err)
	assert.Equal(t, "artifact", string(data))
}

// Tests that fail, panic or hang end as they do on the host.
func TestExecFailures(t *testing.T) {
	t.Parallel()
	hostSide(t)
	m := newTestedModule(t)
	cmd, out := m.goTest("", "-run=Fails|Panics", "./odd")
	assert.Equal(t, 1, exitCode(t, cmd.Run()))
	assert.Contains(t, out.String(), "--- FAIL: TestFails")
	assert.Regexp(t, `(?s)before the panic\n--- FAIL: TestPanics.*panic: oh dear.*odd_test.go:14`, out.String(), "in the order in which it was written")

	cmd, out = m.goTest("", "-run=Hangs", "-timeout=2s", "./odd")
	assert.Equal(t, 1, exitCode(t, cmd.Run()))
	assert.Contains(t, out.String(), "panic: test timed out after 2s")

	cmd, out = m.goTest("", "-run=Stops", "-timeout=1s", "./odd")
	assert.Equal(t, 1, exitCode(t, cmd.Run()))
	assert.Contains(t, out.String(), "it did not end within -test.timeout=1s, nor in 30s more")

	cmd, out = m.goTest("", "-run=^$", "-fuzz=Finds", "./odd")
	assert.Equal(t, 1, exitCode(t, cmd.Run()))
	assert.Contains(t, out.String(), "Failing input written to testdata/fuzz/FuzzFinds/")
	cacheFile(t, m.dir, "odd/testdata/fuzz/FuzzFinds/*")
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	return exit.ExitCode()
}

// A program that the guest has no libraries for is refused with the cure.
func TestExecLacksLibraries(t *testing.T) {
	hostSide(t)
	m := newTestedModule(t)
	emulator, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("no dynamic program to try: qemu-system-x86_64 is not on PATH")
	}
	cmd := exec.CommandContext(t.Context(), m.binary, "exec", emulator, "--version")
	cmd.Dir, cmd.Env = m.dir, m.env
	out, err := cmd.CombinedOutput()
	assert.Equal(t, 1, exitCode(t, err))
	assert.Contains(t, string(out), "build the test with CGO_ENABLED=0, or add what is missing with --package or --with")
}

// Neither Ctrl-C nor the end of go test leaves a guest behind.
func TestExecEndsWithGoTest(t *testing.T) {
	hostSide(t)
	m := newTestedModule(t)
	kill := (*os.Process).Kill
	for name, c := range map[string]struct {
		end  func(*os.Process) error
		exec string
	}{
		"Ctrl-C":       {func(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGINT) }, m.binary},
		"kill":         {kill, m.binary},
		"kill, go run": {kill, "go run " + commandVmtest},
	} {
		t.Run(name, func(t *testing.T) {
			m.binary = c.exec
			id := fmt.Sprintf("VMTEST_EXEC_TEST=%d %s", os.Getpid(), name)
			cmd, _ := m.goTest("", "-v", "-run=Hangs", "./odd")
			cmd.Env = append(cmd.Env, id)
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			cmd.Stdout, cmd.Stderr = w, w
			require.NoError(t, cmd.Start())
			w.Close()
			var text strings.Builder
			buf := make([]byte, 1024)
			for !strings.Contains(text.String(), "it hangs\n") {
				n, err := r.Read(buf)
				text.Write(buf[:n])
				require.NoError(t, err, "output:\n%s", &text)
			}
			require.NotEmpty(t, marked(t, id))
			require.NoError(t, c.end(cmd.Process))
			go io.Copy(io.Discard, r)
			assert.Error(t, cmd.Wait())
			for pid, name := range marked(t, id) {
				waitExit(t, pid, 20*time.Second)
				assert.NotContains(t, marked(t, id), pid, "%s is left", name)
			}
			assert.Empty(t, marked(t, id))
		})
	}
}
