package scenarios

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/pty"
	"example.org/systemd-vmtest/vmtest"
)

// person is a program at a terminal, and what the terminal shows.
type person struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	shown  []byte
	limit  time.Time // when the test must end
}

// atTerminal starts a program of this module with a controlling terminal of 91 columns.
func atTerminal(t *testing.T, pkg string, args ...string) *person {
	t.Helper()
	needGo(t)
	binary := filepath.Join(t.TempDir(), filepath.Base(pkg))
	out, err := exec.Command("go", "build", "-o", binary, pkg).CombinedOutput()
	require.NoError(t, err, "%s", out)
	master, terminal, err := pty.Open()
	require.NoError(t, err)
	t.Cleanup(func() { master.Close() })
	require.NoError(t, pty.Resize(master, 91, 17))
	p := &person{t: t, master: master, limit: time.Now().Add(10 * time.Minute)}
	if end, ok := t.Deadline(); ok {
		p.limit = end.Add(-10 * time.Second) // time to say what the terminal shows
	}
	ctx, cancel := context.WithDeadline(context.Background(), p.limit)
	p.cmd = exec.CommandContext(ctx, binary, args...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = terminal, terminal, terminal
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, p.cmd.Start())
	terminal.Close()
	t.Cleanup(func() { cancel(); p.cmd.Wait() })
	return p
}

// leaves waits until the program has exited, which it must do with a status.
func (p *person) leaves(status int) {
	p.t.Helper()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(p.t, err, &exit)
	assert.Equal(p.t, status, exit.ExitCode(), "%v", err)
}

// types types keys and waits until the terminal shows the pattern after them.
func (p *person) types(keys, pattern string) {
	p.t.Helper()
	_, err := p.master.WriteString(keys)
	require.NoError(p.t, err)
	require.NoError(p.t, p.master.SetReadDeadline(p.limit))
	for buf := make([]byte, 4096); !regexp.MustCompile(pattern).Match(p.shown); {
		n, err := p.master.Read(buf)
		p.shown = append(p.shown, buf[:n]...)
		if err != nil && !regexp.MustCompile(pattern).Match(p.shown) {
			require.NoError(p.t, err, "wait for %s; the terminal shows:\n%s", pattern, p.shown)
		}
	}
	p.shown = nil
}

// A person looks around in a guest with the units loaded, and leaves with a status.
func TestShell(t *testing.T) {
	p := atTerminal(t, "example.org/systemd-vmtest/vmtest/cmd/vmtest", "shell", "--units", "testdata/guide", "sh", "-i")
	p.types("", `(?s)a terminal of `+regexp.QuoteMeta(ownImage(t).Name)+`.*[#$] $`)
	p.types("stty size; tty\n", `\n17 91\r\n/dev/pts/\d+\r\n# $`)
	p.types("systemctl show -P Accept demo-echo.socket\n", `\nyes\r\n# $`)
	require.NoError(t, pty.Resize(p.master, 132, 50))
	p.types("stty size\n", `\n50 132\r\n# $`)
	p.types("sh -c 'echo u\"\"p; exec sleep 1000'\n", `\nup\r\n$`)
	p.types("\x03", `\^C\r?\n# $`)
	p.types("exit 3\n", `exit`)
	p.leaves(3)
}

// The escape leaves a command that takes no notice of anything.
func TestShellLeft(t *testing.T) {
	p := atTerminal(t, "example.org/systemd-vmtest/vmtest/cmd/vmtest", "run", "-t", "sh", "-c", "stty raw -echo; echo deaf; exec sleep 1000")
	p.types("", "deaf")
	p.types("\r~.", `vmtest: left by "~\."`)
	p.leaves(1)
}

// A process without a terminal cannot have a shell in its guest.
func TestShellWithoutTerminal(t *testing.T) {
	if tty, err := os.Open("/dev/tty"); err == nil {
		tty.Close()
		t.Skip("this test was started at a terminal")
	}
	g := vmtest.Start(t, vmtest.Config{})
	_, err := g.Machine.Shell(t.Context(), vmtest.Command{})
	require.ErrorIs(t, err, syscall.ENXIO)
	assert.ErrorContains(t, err, "shell: open terminal: open /dev/tty: ")
}
