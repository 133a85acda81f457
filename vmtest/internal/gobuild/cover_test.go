package gobuild

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A process that is killed has left its counters to the collector, which writes them.
func TestCovered(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/daemon\n\ngo 1.26\n",
		"main.go": `package main

import (
	"fmt"
	"time"
)

func main() {
	if ran() {
		fmt.Println("up")
		time.Sleep(time.Hour)
	}
	skipped()
}

func ran() bool { return true }

func skipped() { println() }
`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	t.Chdir(dir)
	t.Setenv("VMTEST_CACHE", t.TempDir())
	t.Setenv("VMTEST_GO_PREBUILT", "")
	data, err := Covered(t.Context(), ".", runtime.GOARCH, noNotice(t))
	require.NoError(t, err)
	program, results := filepath.Join(t.TempDir(), "daemon"), filepath.Join(t.TempDir(), "results")
	require.NoError(t, os.WriteFile(program, data, 0o700))

	stdin, collected := start(t, program, CollectVar+"="+program, ResultsVar+"="+results)
	assert.Equal(t, "ready\n", collected())
	cmd := exec.Command(program)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "up\n", line)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	_, err = io.WriteString(stdin, "write\n")
	require.NoError(t, err)
	assert.Equal(t, "wrote 1\n", collected())

	out, err := exec.Command("go", "tool", "covdata", "func", "-i="+results).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Regexp(t, `main.go:\d+:\s+main\s+75.0%\n`, string(out))
	assert.Regexp(t, `main.go:\d+:\s+ran\s+100.0%\n`, string(out))
	assert.Regexp(t, `main.go:\d+:\s+skipped\s+0.0%\n`, string(out))

	// Without a collector the program prints what it would print without -cover.
	require.NoError(t, os.Remove(meetingPipe(t, program)))
	quiet := exec.Command(program)
	stderr, err := quiet.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, quiet.Start())
	require.NoError(t, quiet.Process.Kill())
	text, err := io.ReadAll(stderr)
	require.NoError(t, err)
	require.Error(t, quiet.Wait())
	assert.Empty(t, string(text))
}

// start starts the program as a collector, which ends with the test. It returns its standard
// input, and what reads a line of its output.
func start(t *testing.T, program string, env ...string) (io.Writer, func() string) {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), env...)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close() // ends it if it still waits
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(stdout)
	return stdin, func() string {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		return line
	}
}

// meetingPipe returns the path of the pipe beside a program.
func meetingPipe(t *testing.T, program string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(program), ".daemon.*.cover"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}
