package scenarios

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

// A command receives its arguments unchanged, and its environment, directory and input.
// An exit status, a signal and a failed start are distinct.
func TestCommands(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})

	r := g.Exec(t, vmtest.Command{
		Args:  []string{"sh", "-c", `printf '%s|%s|%s|' "$1" "$NAME" "$PWD"; cat; echo err >&2; exit 7`, "sh", "a 'b' \"c\" $d"},
		Env:   []string{"NAME=value with spaces"},
		Dir:   "/usr",
		Stdin: strings.NewReader("in\xff\xfe\x00put"),
	})
	assert.Equal(t, "a 'b' \"c\" $d|value with spaces|/usr|in\xff\xfe\x00put", string(r.Stdout))
	assert.Equal(t, "err\n", string(r.Stderr))
	assert.Equal(t, 7, r.ExitCode)

	r = g.Exec(t, vmtest.Command{Args: []string{"sh", "-c", "kill -9 $$"}})
	assert.Equal(t, "KILL", r.Signal)
	assert.Equal(t, -1, r.ExitCode)

	_, err := g.Machine.Run(t.Context(), "/no/such/program")
	var start *vmtest.StartError
	require.ErrorAs(t, err, &start)
	assert.ErrorContains(t, err, "no such file or directory")
}

// A clean-up function can run commands.
func TestCommandInCleanup(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	t.Cleanup(func() { assert.Equal(t, "running\n", g.Run(t, "systemctl", "is-system-running")) })
}

// A Result keeps 16 MiB of a command's output and says how much more there was. A writer
// in Command.Stdout receives all.
func TestLargeOutput(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	const size = 20 << 20
	args := []string{"dd", "if=/dev/zero", "bs=1M", "count=20"}

	r := g.Exec(t, vmtest.Command{Args: args})
	assert.Len(t, r.Stdout, 16<<20)
	assert.EqualValues(t, size-16<<20, r.Dropped)

	var n counter
	g.Exec(t, vmtest.Command{Args: args, Stdout: &n})
	assert.EqualValues(t, size, n)
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// Copies keep modes and symbolic links. Errors name the cause.
func TestFiles(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	dir := t.TempDir()

	tree := filepath.Join(dir, "tree")
	require.NoError(t, os.MkdirAll(filepath.Join(tree, "sub"), 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(tree, "sub", "run.sh"), []byte("#!/bin/sh\necho ran\n"), 0o700))
	require.NoError(t, os.Symlink("sub/run.sh", filepath.Join(tree, "link")))
	g.Copy(t, tree, "/opt/tree")
	assert.Equal(t, "ran\n", g.Run(t, "/opt/tree/link"))
	assert.Equal(t, "700 750\n", g.Run(t, "sh", "-c", "echo $(stat -c %a /opt/tree/sub/run.sh /opt/tree/sub)"))
	assert.Equal(t, "sub/run.sh\n", g.Run(t, "readlink", "/opt/tree/link"), "target of the copied link")

	g.WriteFile(t, "/opt/new/dir/file", nil, 0o600)
	assert.Equal(t, "755 root root 755 root root\n", g.Run(t, "sh", "-c", "echo $(stat -c '%a %U %G' /opt/new /opt/new/dir)"))

	g.WriteFile(t, "/etc/motd", []byte("hello\n"), 0o640)
	assert.Equal(t, "hello\n", string(g.ReadFile(t, "/etc/motd")))

	ctx := t.Context()
	file := filepath.Join(tree, "sub", "run.sh")
	err := g.Machine.Copy(ctx, file, "/etc/motd/run.sh")
	assert.ErrorIs(t, err, syscall.ENOTDIR)
	assert.ErrorContains(t, err, "directory /etc/motd of the guest: not a directory")
	assert.ErrorIs(t, g.Machine.Copy(ctx, file, "/etc"), syscall.EISDIR)
	assert.ErrorIs(t, g.Machine.Copy(ctx, filepath.Join(dir, "absent"), "/etc/absent"), fs.ErrNotExist)
	_, err = g.Machine.ReadFile(ctx, "/no/such/file")
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

// A guest with 512 MB of memory receives a file of 200 MB.
func TestLargeFile(t *testing.T) {
	t.Parallel()
	g := vmtest.Start(t, vmtest.Config{})
	const size = 200 << 20
	path := filepath.Join(t.TempDir(), "large")
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = io.CopyN(f, zeros{}, size)
	require.NoError(t, err)
	require.NoError(t, f.Chmod(0o604))
	require.NoError(t, f.Close())
	g.Copy(t, path, "/var/large")
	assert.Equal(t, "209715200 604\n", g.Run(t, "stat", "-c", "%s %a", "/var/large"))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
