package link_test

import (
	"bytes"
	"io"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// screen keeps what a command writes to its terminal, and waits for text.
type screen struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{}
}

func newScreen() *screen { return &screen{changed: make(chan struct{}, 1)} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

// wait returns when what was written matches.
func (s *screen) wait(t *testing.T, pattern string) {
	t.Helper()
	for late := time.After(time.Until(deadline(t))); ; {
		s.mu.Lock()
		text := bytes.Clone(s.text)
		s.mu.Unlock()
		if regexp.MustCompile(pattern).Match(text) {
			return
		}
		select {
		case <-s.changed:
		case <-late:
			require.Fail(t, "the terminal does not show it", "want %s, it shows:\n%s", pattern, text)
		}
	}
}

// atTerminal starts a shell script with a terminal and returns its screen, its keyboard
// and its end.
func atTerminal(t *testing.T, term *link.Terminal, script string) (*screen, io.Writer, <-chan error) {
	t.Helper()
	g := start(t, &agent.Server{})
	keys, typed := io.Pipe()
	t.Cleanup(func() { typed.Close() })
	out := newScreen()
	cmd := sh(script)
	cmd.Stdin, cmd.Stdout, cmd.Terminal = keys, out, term
	end := make(chan error, 1)
	go func() { end <- g.Exec(testContext(t), cmd) }()
	return out, typed, end
}

func TestTerminal(t *testing.T) {
	out, _, end := atTerminal(t, &link.Terminal{Type: "vt220", Size: link.WindowSize{Columns: 91, Rows: 17}},
		`test -t 0 && test -t 1 && test -t 2 && stty size && stty -a | grep -o -w iutf8; echo "$TERM<$SYSTEMD_COLORS>"; exit 3`)
	var exit *link.ExitError
	require.ErrorAs(t, <-end, &exit)
	assert.Equal(t, 3, exit.ExitCode)
	assert.Equal(t, "17 91\r\niutf8\r\nvt220<>\r\n", string(out.text), "the size, the modes, TERM and SYSTEMD_COLORS")
}

// A new size reaches the program in the foreground by SIGWINCH.
func TestTerminalResized(t *testing.T) {
	sizes := make(chan link.WindowSize)
	out, _, end := atTerminal(t, &link.Terminal{Size: link.WindowSize{Columns: 80, Rows: 24}, Resized: sizes},
		`trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 1000 & wait; done`)
	out.wait(t, "ready")
	sizes <- link.WindowSize{Columns: 132, Rows: 50}
	require.NoError(t, <-end)
	assert.Contains(t, string(out.text), "50 132\r\n")
}

// Ctrl-C, and Ctrl-D at the begin of a line, mean what they do at any terminal.
func TestTerminalKeys(t *testing.T) {
	out, keys, end := atTerminal(t, &link.Terminal{}, `trap 'echo interrupted' INT; echo ready; cat; echo caught; cat; echo done`)
	out.wait(t, "ready")
	_, err := keys.Write([]byte("typed\n"))
	require.NoError(t, err)
	out.wait(t, "typed\r\ntyped\r\n") // the echo, and what cat writes
	_, err = keys.Write([]byte{3})
	require.NoError(t, err)
	out.wait(t, "interrupted\r\ncaught")
	_, err = keys.Write([]byte{4})
	require.NoError(t, err)
	require.NoError(t, <-end)
	assert.Contains(t, string(out.text), "done\r\n")
}

// A shell has job control, so it stops and continues what runs in it.
func TestTerminalJobControl(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash on this host, which is the guest here")
	}
	out, keys, end := atTerminal(t, &link.Terminal{}, `PS1='here> ' exec bash --norc -i`)
	out.wait(t, "here> ")
	for _, step := range []struct{ keys, shows string }{
		{"sh -c 'echo u\"\"p; exec cat'\n", "\nup\r\n"}, // it runs
		{"\x1a", "(?s)Stopped.*here> $"},
		{"fg\n", "fg\r\nsh -c"},
		{"again\n", "again\r\nagain\r\n"}, // it runs again
		{"\x03", "here> $"},
		{"echo $((6*7))\n", "\n42\r\n"},
		{"exit\n", "exit"},
	} {
		_, err := keys.Write([]byte(step.keys))
		require.NoError(t, err)
		out.wait(t, step.shows)
	}
	require.NoError(t, <-end)
}

// What a command leaves in the background holds the terminal open, and the end is still
// noticed.
func TestTerminalLeftover(t *testing.T) {
	_, _, end := atTerminal(t, &link.Terminal{}, `trap '' HUP; sleep 1000 & echo left`)
	require.NoError(t, <-end)
}
