package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}`

// peer plays the part of QEMU.
type peer struct {
	t    *testing.T
	conn *net.UnixConn
	r    *bufio.Reader
}

// newPeer returns the peer, and the client's end of its connection.
func newPeer(t *testing.T) (*peer, *net.UnixConn) {
	a, b, err := host.ConnPair("monitor")
	require.NoError(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return &peer{t: t, conn: a, r: bufio.NewReader(a)}, b
}

func (p *peer) say(lines ...string) {
	_, err := p.conn.Write([]byte(strings.Join(lines, "\r\n") + "\r\n"))
	assert.NoError(p.t, err)
}

// asked is a command that the peer has received.
type asked struct {
	Execute   string
	Arguments map[string]string
	ID        string
}

// hear returns the next command, which is the zero value at the end of the session.
func (p *peer) hear() asked {
	dec := json.NewDecoder(p.r)
	var c asked
	if err := dec.Decode(&c); err != nil {
		return asked{}
	}
	p.r = bufio.NewReader(io.MultiReader(dec.Buffered(), p.conn))
	return c
}

// answer answers a command with a "return" member.
func (p *peer) answer(c asked, result string) {
	p.say(fmt.Sprintf(`{"return": %s, "id": %q}`, result, c.ID))
}

// serve answers each command with its own name until the session ends.
func (p *peer) serve() {
	for {
		c := p.hear()
		if c.Execute == "" {
			return
		}
		p.answer(c, strconv.Quote(c.Execute))
	}
}

// shakeHands plays the handshake.
func (p *peer) shakeHands() {
	p.say(greeting)
	assert.Equal(p.t, "qmp_capabilities", p.hear().Execute)
	p.say(`{"return": {}}`)
}

func connect(t *testing.T) (*peer, *Client) {
	p, conn := newPeer(t)
	go p.shakeHands()
	c, err := NewClient(t.Context(), conn)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return p, c
}

func TestExecuteReturnsTheAnswer(t *testing.T) {
	p, c := connect(t)
	go func() {
		c := p.hear()
		assert.Equal(t, "query-status", c.Execute)
		p.answer(c, `{"status": "running"}`)
	}()
	var status struct{ Status string }
	require.NoError(t, c.Execute(t.Context(), "query-status", nil, &status, nil))
	assert.Equal(t, "running", status.Status)
}

func TestExecuteReturnsQEMUsError(t *testing.T) {
	p, c := connect(t)
	go func() {
		p.say(fmt.Sprintf(`{"error": {"class": "GenericError", "desc": "no such thing"}, "id": %q}`, p.hear().ID))
	}()
	err := c.Execute(t.Context(), "getfd", nil, nil, nil)
	assert.EqualError(t, err, "QMP getfd: no such thing")
}

func TestEventDuringTheHandshake(t *testing.T) {
	p, conn := newPeer(t)
	go func() {
		p.say(greeting, `{"event": "RESUME", "timestamp": {"seconds": 1, "microseconds": 2}}`)
		p.hear()
		p.say(`{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 3}}`, `{"return": {}}`)
	}()
	c, err := NewClient(t.Context(), conn)
	require.NoError(t, err)
	defer c.Close()
	assert.Equal(t, "RESUME", (<-c.Events()).Event)
	assert.Equal(t, "STOP", (<-c.Events()).Event)
}

func TestAnswersSurviveAFloodOfEvents(t *testing.T) {
	p, c := connect(t)
	const rounds, flood = 50, 40
	seen := make(chan int)
	go func() {
		n := 0
		for range c.Events() {
			n++
		}
		seen <- n
	}()
	go func() {
		for i := range rounds {
			lines := []string{fmt.Sprintf(`{"return": {"n": %d}, "id": %q}`, i, p.hear().ID)}
			for range flood {
				lines = append(lines, `{"event": "VSERPORT_CHANGE", "data": {"id": "link", "open": true}}`)
			}
			p.say(lines...)
		}
		p.conn.Close()
	}()
	for i := range rounds {
		var got struct{ N int }
		require.NoError(t, c.Execute(t.Context(), "query-status", nil, &got, nil))
		require.Equal(t, i, got.N)
	}
	assert.Equal(t, rounds*flood, <-seen)
}

func TestQEMUDiesUnderACommand(t *testing.T) {
	p, c := connect(t)
	go func() {
		p.hear()
		p.conn.Close()
	}()
	err := c.Execute(t.Context(), "migrate", nil, nil, nil)
	assert.ErrorIs(t, err, ErrClosed)
	err = c.Execute(t.Context(), "query-status", nil, nil, nil)
	assert.ErrorIs(t, err, ErrClosed, "and stays dead")
}

func TestContextEndsACommandWithoutAnswer(t *testing.T) {
	p, c := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		p.hear()
		cancel()
	}()
	err := c.Execute(ctx, "migrate", nil, nil, nil)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestContextEndsAHandshakeWithoutGreeting(t *testing.T) {
	_, conn := newPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := NewClient(ctx, conn)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestRubbishFromQEMU(t *testing.T) {
	p, c := connect(t)
	go func() {
		p.hear()
		p.say(`} not JSON`)
	}()
	err := c.Execute(t.Context(), "query-status", nil, nil, nil)
	assert.ErrorIs(t, err, ErrClosed)
	assert.ErrorContains(t, err, "not JSON")
}

func TestExecutePassesADescriptor(t *testing.T) {
	p, c := connect(t)
	got := make(chan string, 1)
	go func() {
		buf, oob := make([]byte, 1024), make([]byte, unix.CmsgSpace(4))
		_, oobn, _, _, err := p.conn.ReadMsgUnix(buf, oob)
		assert.NoError(t, err)
		fds, err := receivedFiles(oob[:oobn])
		if assert.NoError(t, err) && assert.Len(t, fds, 1) {
			f := os.NewFile(uintptr(fds[0]), "passed")
			defer f.Close()
			_, err = f.WriteString("through the descriptor")
			assert.NoError(t, err)
		}
		p.answer(asked{ID: "1"}, "{}")
	}()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, c.Execute(t.Context(), "getfd", map[string]string{"fdname": "state"}, nil, w))
	w.Close()
	go func() {
		b := make([]byte, 100)
		n, _ := r.Read(b)
		got <- string(b[:n])
	}()
	assert.Equal(t, "through the descriptor", <-got)
}
