package gobuild

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// coveredDaemon builds a program that prints "up" and runs until it is killed.
func coveredDaemon(t *testing.T) (program string) {
	t.Helper()
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
	program = filepath.Join(t.TempDir(), "daemon")
	require.NoError(t, os.WriteFile(program, data, 0o700))
	return program
}

// killed starts the program, and kills it when it is up.
func killed(t *testing.T, program string) {
	t.Helper()
	cmd := exec.Command(program)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "up\n", line)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
}

// A process that is killed has left its counters to the collector, which writes them.
func TestCovered(t *testing.T) {
	program, results := coveredDaemon(t), filepath.Join(t.TempDir(), "results")
	_, stdin, collected := start(t, program, CollectVar+"="+program, ResultsVar+"="+results)
	assert.Equal(t, "ready\n", collected())
	killed(t, program)
	_, err := io.WriteString(stdin, "write\n")
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

// A service that is started again and again fills no memory, and each run counts.
func TestCoveredAgain(t *testing.T) {
	t.Setenv("GOFLAGS", "-covermode=count")
	program, results := coveredDaemon(t), filepath.Join(t.TempDir(), "results")
	pid, stdin, collected := start(t, program, CollectVar+"="+program, ResultsVar+"="+results)
	assert.Equal(t, "ready\n", collected())
	for range 5 {
		killed(t, program)
	}
	assert.Len(t, sharedFiles(t, pid), 1, "files that the collector holds")
	_, err := io.WriteString(stdin, "write\n")
	require.NoError(t, err)
	assert.Equal(t, "wrote 5\n", collected())

	text := filepath.Join(t.TempDir(), "profile")
	out, err := exec.Command("go", "tool", "covdata", "textfmt", "-i="+results, "-o="+text).CombinedOutput()
	require.NoError(t, err, "%s", out)
	profile, err := os.ReadFile(text)
	require.NoError(t, err)
	assert.Regexp(t, `main.go:16.\S+ 1 5\n`, string(profile), "how often ran was called")
}

// What others write to the pipe, and files that are not of the program, cost no counters.
func TestCoveredWithStrangers(t *testing.T) {
	program, results := coveredDaemon(t), filepath.Join(t.TempDir(), "results")
	pid, stdin, collected := start(t, program, CollectVar+"="+program, ResultsVar+"="+results)
	assert.Equal(t, "ready\n", collected())
	killed(t, program)
	var own unix.Stat_t
	require.NoError(t, unix.Stat(sharedFiles(t, pid)[0], &own))
	require.NoError(t, stdin.Close())
	assert.Contains(t, collected(), "failed: told")

	// One that has no counters yet takes those of strangers first.
	_, stdin, collected = start(t, program, CollectVar+"="+program, ResultsVar+"="+results)
	assert.Equal(t, "ready\n", collected())

	pipe, err := os.OpenFile(meetingPipe(t, program), os.O_WRONLY, 0)
	require.NoError(t, err)
	defer pipe.Close()
	for i, size := range []int64{0, 1, own.Size, own.Size, 2 * own.Size} {
		token := fmt.Sprintf("%032d", i)
		fd, err := unix.MemfdCreate("vmtest-cover-"+token, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		require.NoError(t, err)
		defer unix.Close(fd)
		garbage := bytes.Repeat([]byte{0xff}, int(size))
		_, err = unix.Write(fd, garbage)
		require.NoError(t, err)
		_, err = pipe.WriteString("junk\n" + token + "\nmore junk, without an end")
		require.NoError(t, err)
		if i == 3 { // what has been taken becomes shorter
			var taken [1]byte
			require.Eventually(t, func() bool {
				_, err := unix.Pread(fd, taken[:], 0)
				return err == nil && taken[0] == 1
			}, 10*time.Second, time.Millisecond, "the collector has the file")
			require.NoError(t, unix.Ftruncate(fd, 1))
		}
	}
	killed(t, program)
	_, err = io.WriteString(stdin, "write\n")
	require.NoError(t, err)
	assert.Equal(t, "wrote 1\n", collected())
	assert.Equal(t, "skipped 5\n", collected())
	out, err := exec.Command("go", "tool", "covdata", "func", "-i="+results).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Regexp(t, `main.go:\d+:\s+ran\s+100.0%\n`, string(out))
}

// sharedFiles returns the files in memory that a process holds open.
func sharedFiles(t *testing.T, pid int) (links []string) {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, link := range all {
		if name, err := os.Readlink(link); err == nil && strings.Contains(name, "memfd:vmtest-cover-") {
			links = append(links, link)
		}
	}
	return links
}

// start starts the program as a collector, which ends with the test. It returns its standard
// input, and what reads a line of its output.
func start(t *testing.T, program string, env ...string) (pid int, stdin io.WriteCloser, line func() string) {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		in.Close() // ends it if it still waits
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(stdout)
	return cmd.Process.Pid, in, func() string {
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

// A Go that lacks the file to replace is named by that file.
func TestCoverOverlayOfAnotherGo(t *testing.T) {
	root := t.TempDir()
	t.Setenv("GOROOT", root)
	_, err := coverOverlay(t.Context(), t.TempDir())
	assert.EqualError(t, err, filepath.Join(root, "src/internal/coverage/cfile/hooks.go")+" does not exist: coverage of programs in guests replaces that file of Go 1.26")
}
