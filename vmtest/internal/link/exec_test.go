package link_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

func sh(script string) link.Command {
	return link.Command{Args: []string{"sh", "-c", script}}
}

func TestExecEnd(t *testing.T) {
	g := start(t, &agent.Server{})
	for script, want := range map[string]*link.ExitError{
		"exit 0":                       nil,
		"exit 3":                       {ExitCode: 3},
		"exit 255":                     {ExitCode: 255},
		"kill -9 $$":                   {ExitCode: -1, Signal: "KILL"},
		"kill -TERM $$":                {ExitCode: -1, Signal: "TERM"},
		"ulimit -c 0; kill -SYS $$":    {ExitCode: -1, Signal: "SYS"},
		"ulimit -c 0; kill -s XCPU $$": {ExitCode: -1, Signal: "XCPU"},
	} {
		err := g.Exec(testContext(t), sh(script))
		if want == nil {
			assert.NoError(t, err, script)
			continue
		}
		var exit *link.ExitError
		if assert.ErrorAs(t, err, &exit, script) {
			assert.Equal(t, want.ExitCode, exit.ExitCode, script)
			assert.Equal(t, want.Signal, exit.Signal, script)
		}
	}
}

func TestExecStreamsApart(t *testing.T) {
	g := start(t, &agent.Server{})
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	var stdout, stderr bytes.Buffer
	cmd := sh("cat; echo -n oops >&2")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(all), &stdout, &stderr
	require.NoError(t, g.Exec(testContext(t), cmd))
	assert.Equal(t, all, stdout.Bytes(), "bytes that are not UTF-8 must be kept")
	assert.Equal(t, "oops", stderr.String())
}

func TestExecMergedStreamsKeepOrder(t *testing.T) {
	g := start(t, &agent.Server{})
	var both bytes.Buffer
	cmd := sh("for i in 1 2 3 4; do echo out$i; echo err$i >&2; done")
	cmd.Stdout, cmd.Stderr = &both, &both
	require.NoError(t, g.Exec(testContext(t), cmd))
	assert.Equal(t, "out1\nerr1\nout2\nerr2\nout3\nerr3\nout4\nerr4\n", both.String())
}

func TestExecArgumentsAndEnvironment(t *testing.T) {
	t.Setenv("LEAKED", "from the agent")
	g := start(t, &agent.Server{})
	dir := t.TempDir()
	var stdout bytes.Buffer
	err := g.Exec(testContext(t), link.Command{
		Args:   []string{"sh", "-c", `printf '%s|' "$@" "$HOME" "$LANG" "$TERM" "$MINE" "$LEAKED" "$PWD"; ls -l /proc/self/fd | grep -c socket:`, "sh", "a b", "", "\xff*"},
		Env:    []string{"MINE=1", "TERM=vt\xfe"},
		Dir:    dir,
		Stdout: &stdout,
	})
	assert.EqualError(t, err, "exit status 1") // grep found none
	// The last line counts sockets: the port must not reach a command.
	assert.Equal(t, "a b||\xff*|/root|C.UTF-8|vt\xfe|1||"+dir+"|0\n", stdout.String())
}

func TestExecNoStart(t *testing.T) {
	g := start(t, &agent.Server{})
	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, os.WriteFile(plain, []byte("x"), 0o644))
	for name, test := range map[string]struct {
		cmd  link.Command
		is   error
		text string
	}{
		"not in PATH":       {link.Command{Args: []string{"no-such-command"}}, fs.ErrNotExist, "PATH=/usr/local/sbin"},
		"no such file":      {link.Command{Args: []string{"/no/such"}}, fs.ErrNotExist, "/no/such: no such file or directory"},
		"not executable":    {link.Command{Args: []string{plain}}, fs.ErrPermission, "permission denied"},
		"no such directory": {link.Command{Args: []string{"true"}, Dir: "/no/dir"}, fs.ErrNotExist, "chdir /no/dir: no such file or directory"},
		"dir is a file":     {link.Command{Args: []string{"true"}, Dir: plain}, syscall.ENOTDIR, "not a directory"},
		"too long":          {link.Command{Args: []string{"true", strings.Repeat("x", 1<<20)}}, syscall.E2BIG, "argument list too long"},
		"no such user":      {link.Command{Args: []string{"true"}, User: "no-such-user"}, nil, `no user "no-such-user" in /etc/passwd`},
		"UID of nobody":     {link.Command{Args: []string{"true"}, User: "4242424242"}, nil, "no user with UID 4242424242 in /etc/passwd"},
		"empty name":        {link.Command{Args: []string{""}}, fs.ErrNotExist, "no such file"},
	} {
		err := g.Exec(testContext(t), test.cmd)
		var failure *link.StartError
		if assert.ErrorAs(t, err, &failure, name) {
			if test.is != nil {
				assert.ErrorIs(t, err, test.is, name)
			}
			assert.ErrorContains(t, err, test.text, name)
			assert.Equal(t, test.cmd.Args[0], failure.Name, name)
		}
	}
	require.Error(t, g.Exec(testContext(t), link.Command{}))
	require.NoError(t, g.Exec(testContext(t), sh("true")), "the link must survive")
}

// counter counts the bytes written to it.
type counter struct{ atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.Add(int64(len(p)))
	return len(p), nil
}

func TestExecLargeOutputStreams(t *testing.T) {
	g := start(t, &agent.Server{})
	const size = 48 << 20
	var out counter
	runtime.GC()
	peak := watchHeap()
	cmd := link.Command{Args: []string{"head", "-c", strconv.Itoa(size), "/dev/zero"}, Stdout: &out}
	require.NoError(t, g.Exec(testContext(t), cmd))
	assert.EqualValues(t, size, out.Load())
	assert.Less(t, peak(), uint64(16<<20), "heap must not grow with the output")
}

func TestExecStdin(t *testing.T) {
	g := start(t, &agent.Server{})
	r, w := io.Pipe()
	defer w.Close() // lets the copy of the blocked reader end
	cmd := sh("exit 5")
	cmd.Stdin = r
	var exit *link.ExitError
	require.ErrorAs(t, g.Exec(testContext(t), cmd), &exit, "a blocked reader must not hold Exec")
	assert.Equal(t, 5, exit.ExitCode)

	cmd = sh("head -c 3")
	cmd.Stdin = bytes.NewReader(make([]byte, 8<<20))
	var out bytes.Buffer
	cmd.Stdout = &out
	require.NoError(t, g.Exec(testContext(t), cmd), "a command need not read all")
	assert.Len(t, out.Bytes(), 3)

	broken := errors.New("broken reader")
	cmd = sh("cat >/dev/null")
	cmd.Stdin = io.MultiReader(strings.NewReader("x"), failing{broken})
	assert.ErrorIs(t, g.Exec(testContext(t), cmd), broken)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestExecFailingWriterEndsTheCommand(t *testing.T) {
	g := start(t, &agent.Server{})
	broken := errors.New("broken writer")
	cmd := link.Command{Args: []string{"yes"}, Stdout: failing{broken}}
	assert.ErrorIs(t, g.Exec(testContext(t), cmd), broken)
}

func TestExecConcurrent(t *testing.T) {
	g := start(t, &agent.Server{})
	results := make(chan error, 40)
	for range cap(results) {
		go func() {
			var out bytes.Buffer
			cmd := sh("cat; exit 7")
			cmd.Stdin, cmd.Stdout = strings.NewReader("hello"), &out
			err := g.Exec(testContext(t), cmd)
			if exit := (*link.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode != 7 || out.String() != "hello" {
				results <- errors.Join(errors.New("got "+out.String()), err)
				return
			}
			results <- nil
		}()
	}
	for range cap(results) {
		assert.NoError(t, receive(t, "result", results))
	}
}
