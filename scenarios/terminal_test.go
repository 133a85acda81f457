package scenarios

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/lack"
)

// tmux is a terminal of 100 columns and 30 lines, with bash in each window.
type tmux struct {
	t     *testing.T
	limit context.Context
	dir   string
}

// window is the program of a window.
const window = "env 'PS1=host> ' bash --norc"

// newTmux starts tmux. The command vmtest is in the PATH of its windows.
func newTmux(t *testing.T, env ...string) *tmux {
	t.Helper()
	hostSide(t)
	needGo(t)
	if os.Getenv("VMTEST_TERMINAL") != "1" {
		t.Skip("needs tmux: make terminal-check runs it")
	}
	if _, err := exec.LookPath("tmux"); err != nil {
		lack.Skip(t, "no tmux on PATH: install tmux")
	}
	x := &tmux{t: t, dir: t.TempDir()}
	var cancel context.CancelFunc
	x.limit, cancel = context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	out, err := exec.Command("go", "build", "-o", filepath.Join(x.dir, "bin/vmtest"), "example.org/systemd-vmtest/vmtest/cmd/vmtest").CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Setenv("PATH", filepath.Join(x.dir, "bin")+":"+os.Getenv("PATH"))
	t.Cleanup(func() { _ = x.command("kill-server").Run() })
	args := []string{"-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "-s", "vmtest"}
	for _, e := range append(env, "PATH="+os.Getenv("PATH")) {
		args = append(args, "-e", e)
	}
	x.do(append(args, "-n", "first", window)...)
	return x
}

func (x *tmux) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(x.limit, "tmux", append([]string{"-S", filepath.Join(x.dir, "tmux")}, args...)...)
	cmd.Env = append(os.Environ(), "TMUX=", "TERM=xterm", "LC_ALL=C.UTF-8")
	return cmd
}

func (x *tmux) do(args ...string) string {
	x.t.Helper()
	out, err := x.command(args...).CombinedOutput()
	require.NoError(x.t, err, "tmux %v: %s", args, out)
	return string(out)
}

// stepTime bounds what the terminal is to show after a line.
const stepTime = 30 * time.Second

// types types a line into a window, and waits until its screen shows a pattern. The screen is
// looked at after each output of the window.
func (x *tmux) types(name, pattern string, keys ...string) string {
	x.t.Helper()
	fifo := filepath.Join(x.t.TempDir(), "output")
	require.NoError(x.t, syscall.Mkfifo(fifo, 0o600))
	events, err := os.OpenFile(fifo, os.O_RDWR, 0) // which does not wait for a writer
	require.NoError(x.t, err)
	defer events.Close()
	x.do("pipe-pane", "-O", "-t", name, "cat > '"+fifo+"'")
	defer func() { _ = x.command("pipe-pane", "-t", name).Run() }()
	if len(keys) > 0 {
		x.do(append([]string{"send-keys", "-t", name}, keys...)...)
	}
	require.NoError(x.t, events.SetReadDeadline(time.Now().Add(stepTime)))
	for buf := make([]byte, 4096); ; {
		screen := x.do("capture-pane", "-p", "-t", name)
		if regexp.MustCompile(pattern).MatchString(screen) {
			return screen
		}
		if _, err := events.Read(buf); err != nil {
			require.FailNow(x.t, "no "+pattern, "%v; the terminal shows:\n%s", err, screen)
		}
	}
}

// A person works in a guest as in any terminal.
func TestTerminal(t *testing.T) {
	x := newTmux(t)
	x.types("first", `(?m)^host>$`)
	screen := x.types("first", `(?m)^status \d$`, "clear; vmtest doctor; echo status $?", "Enter")
	assert.Regexp(t, `(?m)^ok +QEMU +\S`, screen)
	x.types("first", `(?m)^30 100$(?s).*^status 7$`, "clear; vmtest run -t sh -c 'stty size; exit 7'; echo status $?", "Enter")

	const prompt = `root@\S+:/#`
	x.types("first", `(?m)^`+prompt+`\n*$`, "clear; vmtest shell --units testdata/guide; echo status $?", "Enter")
	x.types("first", `(?m)^30 100\n`+prompt+`\n*$`, "clear; stty size", "Enter")
	x.do("resize-window", "-t", "first", "-x", "90", "-y", "25")
	x.types("first", `(?m)^25 90\n`+prompt+`\n*$`, "clear; stty size", "Enter")
	x.types("first", `(?m)^started$`, "clear; echo s\"\"tarted; sleep 1000", "Enter")
	x.types("first", `Stopped +.*sleep 1000\n`+prompt+`\n*$`, "C-z")
	x.types("first", `fg\n.*sleep 1000\n*$`, "fg", "Enter")
	x.types("first", `\^C\n+`+prompt+`\n*$`, "C-c")
	// A full-screen program, which leaves by a key.
	screen = x.types("first", `Tasks +%CPU`, "systemd-cgtop", "Enter")
	assert.NotContains(t, screen, "systemd-cgtop")
	x.types("first", prompt+`\n*$`, "q")
	// The shell of another window in the same guest.
	x.do("new-window", "-d", "-n", "second", window)
	x.types("first", `(?m)^`+prompt+`\n*$`, "clear; echo here > /root/mark", "Enter")
	x.types("second", prompt+`\n*$`, "vmtest shell --attach", "Enter")
	x.types("second", `(?m)^here$`, "cat /root/mark", "Enter")
	x.do("kill-window", "-t", "second") // a terminal that goes away
	x.types("first", `(?m)^here$`, "clear; cat /root/mark", "Enter")
	x.types("first", `(?m)^status 3$`, "exit 3", "Enter")
}

// A test fails, and a person looks into its machine from another window.
func TestTerminalKeep(t *testing.T) {
	x := newTmux(t, keptMark+"=One", "VMTEST_KEEP=1")
	screen := x.types("first", `or until Ctrl-C`, "clear; go test -run '^TestKept$' . ; echo status $?", "Enter")
	assert.Regexp(t, `(?m)^vmtest: TestKept/One failed, and its machine is kept: `, screen)
	assert.Regexp(t, `vmtest shell --attach TestKept_One    opens a shell in it`, screen)
	x.do("new-window", "-d", "-n", "second", window)
	x.types("second", `root@\S+:/#\n*$`, "vmtest shell --attach TestKept_One", "Enter")
	x.types("second", `(?m)^One`, "clear; cat /root/of", "Enter")
	x.types("second", `TestKept_One is still kept; "vmtest release TestKept_One" ends it`, "clear; exit", "Enter")
	x.types("second", `(?m)^status 0$`, "clear; vmtest release TestKept_One; echo status $?", "Enter")
	screen = x.types("first", `(?m)^status 1$`)
	assert.Regexp(t, `(?m)^vmtest: TestKept_One is kept no longer: released$`, screen)
	assert.Contains(t, strings.ReplaceAll(screen, "\n", ""), "keep_test.go")
}
