package terminal

import (
	"context"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"example.org/systemd-vmtest/internal/pty"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// newPTY returns our end of a new terminal, and the path of the other.
func newPTY(t *testing.T) (*os.File, string) {
	t.Helper()
	master, terminal, err := pty.Open()
	require.NoError(t, err)
	t.Cleanup(func() { master.Close() })
	require.NoError(t, terminal.Close())
	return master, terminal.Name()
}

func TestSession(t *testing.T) {
	t.Setenv("TERM", "vt220")
	master, path := newPTY(t)
	require.NoError(t, pty.Resize(master, 91, 17))
	before, err := term.GetState(int(master.Fd()))
	require.NoError(t, err)
	ctx, leave := context.WithCancelCause(t.Context())
	defer leave(nil)
	s, err := Open(path, leave)
	require.NoError(t, err)
	assert.Equal(t, "vt220", s.Type)
	assert.Equal(t, link.WindowSize{Columns: 91, Rows: 17}, s.Size)

	_, err = io.WriteString(s, "\x1b[1m\n") // a control sequence, and no added CR
	require.NoError(t, err)
	got := make([]byte, 100)
	n, err := master.Read(got)
	require.NoError(t, err)
	assert.Equal(t, "\x1b[1m\n", string(got[:n]))

	_, err = master.WriteString("\x03") // no signal
	require.NoError(t, err)
	n, err = s.Read(got)
	require.NoError(t, err)
	assert.Equal(t, "\x03", string(got[:n]))

	require.NoError(t, pty.Resize(master, 132, 17))
	require.NoError(t, unix.Kill(os.Getpid(), unix.SIGWINCH)) // it is no controlling terminal
	assert.Equal(t, link.WindowSize{Columns: 132, Rows: 17}, <-s.Resized)

	_, err = master.WriteString("a\r~.")
	require.NoError(t, err)
	text, err := io.ReadAll(s)
	require.NoError(t, err)
	assert.Equal(t, "a\r", string(text))
	assert.ErrorIs(t, context.Cause(ctx), ErrLeft)
	require.NoError(t, s.Close())
	after, err := term.GetState(int(master.Fd()))
	require.NoError(t, err)
	assert.Equal(t, before, after, "the terminal's modes are those from before")
}

// Close ends a Read in progress, which leaves the next key to the next reader.
func TestCloseEndsARead(t *testing.T) {
	master, path := newPTY(t)
	ctx, leave := context.WithCancelCause(t.Context())
	defer leave(nil)
	s, err := Open(path, leave)
	require.NoError(t, err)
	key := make([]byte, 2)
	read := func(s *Session) string {
		n, err := s.Read(key)
		require.NoError(t, err)
		return string(key[:n])
	}
	_, err = master.WriteString("j")
	require.NoError(t, err)
	assert.Equal(t, "j", read(s))
	ended := make(chan error, 1)
	go func() {
		_, err := s.Read(make([]byte, 10))
		ended <- err
	}()
	require.NoError(t, s.Close())
	assert.Equal(t, io.EOF, <-ended)
	assert.NoError(t, ctx.Err())

	next, err := Open(path, leave)
	require.NoError(t, err)
	defer next.Close()
	_, err = master.WriteString("k")
	require.NoError(t, err)
	assert.Equal(t, "k", read(next), "the key typed after Close")
}

func TestTerminalGoesAway(t *testing.T) {
	master, path := newPTY(t)
	ctx, leave := context.WithCancelCause(t.Context())
	defer leave(nil)
	s, err := Open(path, leave)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, master.Close())
	_, err = s.Read(make([]byte, 10))
	require.ErrorIs(t, err, io.EOF)
	assert.ErrorContains(t, context.Cause(ctx), "read terminal")
}

func TestNoTerminal(t *testing.T) {
	_, err := Open("/dev/null", nil)
	require.ErrorIs(t, err, unix.ENOTTY)
	assert.ErrorContains(t, err, "open terminal")
}

func TestEscape(t *testing.T) {
	for typed, want := range map[string]struct {
		sent string
		left bool
	}{
		"abc":      {"abc", false},
		"~.":       {"", true},
		"a~.b":     {"a~.b", false}, // not at the begin of a line
		"a\r~.b":   {"a\r", true},
		"~~.\r":    {"~.\r", false},
		"~a\n~\n~": {"~a\n~\n", false}, // the last is kept back
		"\r~b~.":   {"\r~b~.", false},
	} {
		whole := lines{begin: true}
		p := make([]byte, 20)
		n, left := whole.filter(p, copy(p, typed))
		assert.Equal(t, want.sent, string(p[:n]), "typed %q", typed)
		assert.Equal(t, want.left, left, "typed %q", typed)

		parts, sent := lines{begin: true}, ""
		left = false
		for _, b := range []byte(typed) {
			p[0] = b
			n, left = parts.filter(p, 1)
			if sent += string(p[:n]); left {
				break
			}
		}
		assert.Equal(t, want.sent, sent, "typed %q key by key", typed)
		assert.Equal(t, want.left, left, "typed %q key by key", typed)
	}
}
