package link_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// TestResume changes hosts behind the agent's back, as a fork of a machine does.
func TestResume(t *testing.T) {
	ctx, first, agentEnd, h := recorded(t)
	first.Close()

	second, port := socketPair(t)
	agentEnd.turnTo(port)
	c, err := link.Resume(ctx, second, h)
	require.NoError(t, err)
	defer c.Close()
	var out bytes.Buffer
	require.NoError(t, c.Exec(ctx, link.Command{Args: []string{"echo", "taken over"}, Stdout: &out}))
	assert.Equal(t, "taken over\n", out.String())
}

// TestResumeNotReplayed resumes records that differ from what this program says, as
// they do when the ssh package has changed. A handshake in the place of the session
// must still be possible.
func TestResumeNotReplayed(t *testing.T) {
	last := func(h *link.Handshake) *link.Chunk { return &h.Received[len(h.Received)-1] }
	for name, alter := range map[string]func(*link.Handshake){
		"other random numbers": func(h *link.Handshake) { h.Seed[0]++ },
		"other data sent":      func(h *link.Handshake) { h.Sent[len(h.Sent)/2]++ },
		"other data received":  func(h *link.Handshake) { h.Received[len(h.Received)/2].Data[0]++ },
		"more sent":            func(h *link.Handshake) { h.Sent = append(h.Sent, 0) },
		"more received later":  func(h *link.Handshake) { h.Received = append(h.Received, link.Chunk{After: len(h.Sent) + 1}) },
		"no answer":            func(h *link.Handshake) { last(h).After++ },
		"nothing received":     func(h *link.Handshake) { h.Received = nil },
		"nothing sent":         func(h *link.Handshake) { h.Sent = nil },
	} {
		t.Run(name, func(t *testing.T) {
			_, first, _, h := recorded(t)
			first.Close()
			alter(&h)
			synctest.Test(t, func(t *testing.T) { // for the replay that waits
				conn, other := net.Pipe()
				_, err := link.Resume(t.Context(), conn, h)
				require.ErrorIs(t, err, link.ErrNotReplayed)
				_, err = other.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF, "the agent must see the end of the session")
				require.ErrorIs(t, h.Check(t.Context()), link.ErrNotReplayed)
			})
		})
	}
}

// TestResumeContext ends a replay from outside, which says nothing of the record.
func TestResumeContext(t *testing.T) {
	_, first, _, h := recorded(t)
	first.Close()
	h.Received[len(h.Received)-1].After++
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	conn, _ := net.Pipe()
	_, err := link.Resume(ctx, conn, h)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, link.ErrNotReplayed)
}

// TestHandshakeInPlaceOfASession does what a fork does with a record that it cannot
// replay: it drops the connection and shakes hands over a new one.
func TestHandshakeInPlaceOfASession(t *testing.T) {
	server := &agent.Server{}
	ports := make(chan net.Conn, 2)
	var serving sync.WaitGroup
	serving.Go(func() {
		for port := range ports { // as the agent does it, one host after the other
			server.Serve(context.Background(), port)
		}
	})
	t.Cleanup(func() { close(ports); serving.Wait() })
	host, port := socketPair(t)
	ports <- port
	_, h, err := link.DialRecorded(testContext(t), host)
	require.NoError(t, err)

	h.Seed[0]++ // as if the ssh package drew other numbers
	_, err = link.Resume(testContext(t), host, h)
	require.ErrorIs(t, err, link.ErrNotReplayed)

	host, port = socketPair(t)
	ports <- port
	c, err := link.Dial(testContext(t), host)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Exec(testContext(t), sh("true")))
}

// TestResumeWithoutARecord connects to an agent that was stopped while it waited.
func TestResumeWithoutARecord(t *testing.T) {
	var none link.Handshake
	require.True(t, none.IsZero())
	require.NoError(t, none.Check(t.Context()))
	host, port := socketPair(t)
	var serving sync.WaitGroup
	serving.Go(func() { new(agent.Server).Serve(context.Background(), port) })
	t.Cleanup(serving.Wait)
	c, err := link.Resume(testContext(t), host, none)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Exec(testContext(t), sh("true")))
}

// recorded returns a client, the agent's end of its stream, and a record of their
// handshake.
func recorded(t *testing.T) (context.Context, *link.Client, *turning, link.Handshake) {
	ctx, cancel := context.WithCancel(testContext(t))
	host, port := socketPair(t)
	end := &turning{conn: port, turned: make(chan struct{})}
	var serving sync.WaitGroup
	serving.Go(func() { new(agent.Server).Serve(ctx, end) })
	t.Cleanup(func() { cancel(); serving.Wait() })
	c, h, err := link.DialRecorded(ctx, host)
	require.NoError(t, err)
	return ctx, c, end, h
}

// turning is a port whose host changes without the agent seeing it.
type turning struct {
	mu     sync.Mutex
	conn   net.Conn
	turned chan struct{} // closed by turnTo or Close
	once   sync.Once
}

func (p *turning) turnTo(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = conn
	p.once.Do(func() { close(p.turned) })
}

func (p *turning) current() net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

// Read goes on with the next host when one has gone.
func (p *turning) Read(b []byte) (int, error) {
	conn := p.current()
	n, err := conn.Read(b)
	if err == nil {
		return n, nil
	}
	<-p.turned
	if next := p.current(); next != conn {
		return next.Read(b)
	}
	return 0, io.EOF
}

func (p *turning) Write(b []byte) (int, error) { return p.current().Write(b) }

func (p *turning) Close() error {
	p.turnTo(p.current())
	return p.current().Close()
}

func TestHandshakeCheck(t *testing.T) {
	ctx, _, _, h := recorded(t)
	require.NoError(t, h.Check(ctx))
	require.NoError(t, h.Check(ctx), "Check must not change the record")
	h.Sent[len(h.Sent)-1]++
	require.Error(t, h.Check(ctx))
}
