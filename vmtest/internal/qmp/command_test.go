package qmp

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// abandon runs a command whose caller gives up as soon as the peer has it, and
// returns that command.
func abandon(t *testing.T, p *peer, c *Client, name string, arguments any, file *os.File) asked {
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan asked, 1)
	go func() {
		heard <- p.hear()
		cancel()
	}()
	assert.ErrorIs(t, c.Execute(ctx, name, arguments, nil, file), context.Canceled)
	return <-heard
}

func TestEndedContextSendsNothing(t *testing.T) {
	p, c := connect(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := fmt.Errorf("time is up")
	cancel(cause)
	for range 20 { // select chooses at random
		assert.ErrorIs(t, c.Execute(ctx, "quit", nil, nil, nil), cause)
	}
	go func() {
		c := p.hear()
		assert.Equal(t, "query-status", c.Execute)
		p.answer(c, "{}")
	}()
	assert.NoError(t, c.Execute(t.Context(), "query-status", nil, nil, nil))
}

func TestLateAnswerIsDropped(t *testing.T) {
	p, c := connect(t)
	late := abandon(t, p, c, "migrate", nil, nil)
	go func() {
		p.answer(late, `"late"`)
		p.serve()
	}()
	var got string
	require.NoError(t, c.Execute(t.Context(), "query-status", nil, &got, nil))
	assert.Equal(t, "query-status", got)
}

func TestLateErrorIsDropped(t *testing.T) {
	p, c := connect(t)
	late := abandon(t, p, c, "migrate", nil, nil)
	go func() {
		p.say(fmt.Sprintf(`{"error": {"class": "GenericError", "desc": "too late"}, "id": %q}`, late.ID))
		p.serve()
	}()
	assert.NoError(t, c.Execute(t.Context(), "query-status", nil, nil, nil))
}

// TestAnswersToOtherCommandsAreDropped sends answers that nothing waits for, before
// the right one and after it.
func TestAnswersToOtherCommandsAreDropped(t *testing.T) {
	p, c := connect(t)
	var sent sync.WaitGroup
	sent.Go(func() {
		for range 2 {
			c := p.hear()
			p.say(`{"return": "stray", "id": "77"}`, `{"return": "stray", "id": 1}`, `{"return": "stray"}`)
			p.answer(c, strconv.Quote(c.Execute))
			p.answer(c, `"twice"`)
		}
	})
	for _, name := range []string{"query-status", "query-migrate"} {
		var got string
		require.NoError(t, c.Execute(t.Context(), name, nil, &got, nil))
		assert.Equal(t, name, got, "answer to %s", name)
	}
	sent.Wait()
}

// TestErrorWithoutID has the error that QEMU sends for what it cannot parse.
func TestErrorWithoutID(t *testing.T) {
	p, c := connect(t)
	go func() {
		p.hear()
		p.say(`{"error": {"class": "GenericError", "desc": "JSON parse error"}}`)
	}()
	assert.EqualError(t, c.Execute(t.Context(), "cont", nil, nil, nil), "QMP cont: JSON parse error")
}

// TestSilentMonitorHoldsNobody has a QEMU that never answers, as a stopped one.
func TestSilentMonitorHoldsNobody(t *testing.T) {
	p, c := connect(t)
	abandon(t, p, c, "migrate", nil, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			assert.ErrorIs(t, c.Execute(ctx, "quit", nil, nil, nil), context.DeadlineExceeded)
		})
	}
	wg.Wait()
	require.NoError(t, c.Close(), "closes although a command has no answer")
	assert.Equal(t, asked{}, p.hear(), "a command was sent that was given up before its turn")
}

func TestCloseEndsACommand(t *testing.T) {
	p, c := connect(t)
	ended := make(chan error, 1)
	go func() { ended <- c.Execute(t.Context(), "migrate", nil, nil, nil) }()
	p.hear()
	require.NoError(t, c.Close())
	assert.ErrorIs(t, <-ended, ErrClosed)
	assert.ErrorIs(t, c.Execute(t.Context(), "cont", nil, nil, nil), ErrClosed)
}

func TestManyCallersSomeOfWhomGiveUp(t *testing.T) {
	p, c := connect(t)
	go p.serve()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				name := fmt.Sprintf("command-%d-%d", i, j)
				ctx, cancel := context.WithCancel(t.Context())
				if j%3 == 0 {
					go cancel()
				}
				var got string
				err := c.Execute(ctx, name, nil, &got, nil)
				switch {
				case err == nil:
					assert.Equal(t, name, got)
				case j%3 == 0:
					assert.ErrorIs(t, err, context.Canceled)
				default:
					assert.NoError(t, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}

// receive returns a command that came with a file, and the file.
func (p *peer) receive() (string, *os.File) {
	buf, oob := make([]byte, 1024), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := p.conn.ReadMsgUnix(buf, oob)
	require.NoError(p.t, err)
	fds, err := receivedFiles(oob[:oobn])
	require.NoError(p.t, err)
	require.Len(p.t, fds, 1)
	return string(buf[:n]), os.NewFile(uintptr(fds[0]), "passed")
}

// TestAbandonedFileIsTakenBack gives up a getfd that QEMU carries out later. QEMU
// must not keep the file: a reader of the other end waits for its end.
func TestAbandonedFileIsTakenBack(t *testing.T) {
	p, c := connect(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Execute(ctx, "getfd", map[string]string{"fdname": "state"}, nil, w)
		w.Close()
	}()
	text, passed := p.receive()
	assert.Contains(t, text, `"getfd"`)
	cancel()
	assert.ErrorIs(t, <-ended, context.Canceled)
	p.answer(asked{ID: "1"}, "{}")
	undo := p.hear()
	assert.Equal(t, asked{"closefd", map[string]string{"fdname": "state"}, "2"}, undo)
	passed.Close()
	p.answer(undo, "{}")
	go p.serve()
	require.NoError(t, c.Execute(t.Context(), "cont", nil, nil, nil))
	rest, err := io.ReadAll(r)
	assert.NoError(t, err)
	assert.Empty(t, rest)
}

// TestRefusedFileIsNotTakenBack has nothing to undo.
func TestRefusedFileIsNotTakenBack(t *testing.T) {
	p, c := connect(t)
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Execute(ctx, "getfd", map[string]string{"fdname": "state"}, nil, f) }()
	_, passed := p.receive()
	passed.Close()
	cancel()
	assert.ErrorIs(t, <-ended, context.Canceled)
	p.say(`{"error": {"class": "GenericError", "desc": "no"}, "id": "1"}`)
	go p.serve()
	var got string
	require.NoError(t, c.Execute(t.Context(), "cont", nil, &got, nil))
	assert.Equal(t, "cont", got)
}
