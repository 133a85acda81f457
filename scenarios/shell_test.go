package scenarios

import (
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
}

// atTerminal starts a program of this module with a controlling terminal of 91 columns.
func atTerminal(t *testing.T, pkg string, args ...string) *person {
	t.Helper()
	binary := filepath.Join(t.TempDir(), filepath.Base(pkg))
	out, err := exec.Command("go", "build", "-o", binary, pkg).CombinedOutput()
	require.NoError(t, err, "%s", out)
	master, terminal, err := pty.Open()
	require.NoError(t, err)
	t.Cleanup(func() { master.Close() })
	require.NoError(t, pty.Resize(master, 91, 17))
	p := &person{t: t, cmd: exec.Command(binary, args...), master: master}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = terminal, terminal, terminal
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, p.cmd.Start())
	terminal.Close()
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	return p
}

// types types keys and waits until the terminal shows the pattern after them.
func (p *person) types(keys, pattern string) {
	p.t.Helper()
	_, err := p.master.WriteString(keys)
	require.NoError(p.t, err)
	require.NoError(p.t, p.master.SetReadDeadline(time.Now().Add(3*time.Minute)))
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
	p.types("", `(?s)a terminal of debian-\d+.*[#$] $`)
	p.types("stty size; tty\n", `\n17 91\r\n/dev/pts/\d+\r\n# $`)
	p.types("systemctl show -P Accept demo-echo.socket\n", `\nyes\r\n# $`)
	require.NoError(t, pty.Resize(p.master, 132, 50))
	p.types("stty size\n", `\n50 132\r\n# $`)
	p.types("sh -c 'echo u\"\"p; exec sleep 1000'\n", `\nup\r\n$`)
	p.types("\x03", `\^C\r?\n# $`)
	p.types("exit 3\n", `exit`)
	var exit *exec.ExitError
	require.ErrorAs(t, p.cmd.Wait(), &exit)
	assert.Equal(t, 3, exit.ExitCode(), "the shell's own exit status")
}

// The escape leaves a command that takes no notice of anything.
func TestShellLeft(t *testing.T) {
	p := atTerminal(t, "example.org/systemd-vmtest/vmtest/cmd/vmtest", "run", "-t", "sh", "-c", "stty raw -echo; echo deaf; exec sleep 1000")
	p.types("", "deaf")
	p.types("\r~.", `vmtest: left by "~\."`)
	var exit *exec.ExitError
	require.ErrorAs(t, p.cmd.Wait(), &exit)
	assert.Equal(t, 1, exit.ExitCode())
}

// A process without a terminal cannot have a shell in its guest.
func TestShellWithoutTerminal(t *testing.T) {
	g := vmtest.Start(t, vmtest.Config{})
	if tty, err := os.Open("/dev/tty"); err == nil {
		tty.Close()
		t.Skip("this test was started at a terminal")
	}
	_, err := g.Machine.Shell(t.Context(), vmtest.Command{})
	require.ErrorIs(t, err, syscall.ENXIO)
	assert.ErrorContains(t, err, "shell: open terminal: open /dev/tty: ")
}
