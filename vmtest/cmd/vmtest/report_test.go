package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// After a signal, report writes what it has read, although its input does not end.
func TestInterruptedReport(t *testing.T) {
	in, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	page := filepath.Join(t.TempDir(), "report.html")
	go func() {
		io.WriteString(w, `{"Action":"run","Package":"p","Test":"TestA"}`+"\n"+`{"Action":"pass","Package":"p","Test":"TestA"}`+"\n"+
			`{"Action":"run","Package":"p","Test":"TestB"}`+"\n")
		cancel(&interrupt{syscall.SIGTERM}) // the pipe has no buffer, so the lines were read
	}()
	var out, errors strings.Builder
	assert.Equal(t, 143, run(ctx, []string{"report", "--html", page}, streams{in, &out, &errors}))
	assert.Equal(t, "1 of 2 tests without a result\n", out.String())
	assert.Contains(t, errors.String(), "PASS p.TestA")
	assert.Contains(t, errors.String(), "vmtest: interrupted")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Contains(t, string(text), "TestB")
}

// A report whose file cannot be written after a signal says so.
func TestInterruptedReportThatIsNotWritten(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&interrupt{syscall.SIGTERM})
	var out, errors strings.Builder
	in := strings.NewReader(`{"Action":"run","Package":"p","Test":"TestA"}` + "\n")
	page := filepath.Join(t.TempDir(), "missing", "report.html")
	assert.Equal(t, 143, run(ctx, []string{"report", "--html", page}, streams{in, &out, &errors}))
	assert.Contains(t, errors.String(), "write report: open "+page)
}

// fileThatIsFull names, in the environment of a process, the file that it fails to write.
const fileThatIsFull = "VMTEST_FILE_THAT_IS_FULL"

// What was there stays if the file cannot be written.
func TestWriteWholeWithoutSpace(t *testing.T) {
	if name := os.Getenv(fileThatIsFull); name != "" {
		signal.Ignore(syscall.SIGXFSZ)
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 2, Max: 2}))
		assert.ErrorIs(t, writeWhole(name, func(w io.Writer) error { _, err := io.WriteString(w, "newer"); return err }), syscall.EFBIG)
		return
	}
	name := filepath.Join(t.TempDir(), "report.html")
	require.NoError(t, os.WriteFile(name, []byte("old"), 0o600))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriteWholeWithoutSpace$")
	cmd.Env = append(os.Environ(), fileThatIsFull+"="+name)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	assert.Equal(t, "old", string(data))
	entries, err := os.ReadDir(filepath.Dir(name))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

// A file is replaced as a whole, and what is no regular file is written to.
func TestWriteWhole(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "report.html")
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
	}
	require.NoError(t, os.WriteFile(name, []byte("old"), 0o640))
	require.NoError(t, writeWhole(name, text("new")))
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	assert.Equal(t, "new", string(data))
	info, err := os.Stat(name)
	require.NoError(t, err)
	assert.Equal(t, "-rw-r-----", info.Mode().String())

	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(name, link))
	require.NoError(t, writeWhole(link, text("by a link")))
	data, err = os.ReadFile(name)
	require.NoError(t, err)
	assert.Equal(t, "by a link", string(data))
}
