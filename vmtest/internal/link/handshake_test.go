package link_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// TestAnotherClientTakesOverASession changes hosts behind the agent's back, as a
// fork of a machine does.
func TestAnotherClientTakesOverASession(t *testing.T) {
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

func TestARecordThatIsNotOfThisSession(t *testing.T) {
	for name, alter := range map[string]func(*link.Handshake){
		"other random numbers": func(h *link.Handshake) { h.Seed[0]++ },
		"other words sent":     func(h *link.Handshake) { h.Sent[len(h.Sent)/2]++ },
		"other words received": func(h *link.Handshake) { h.Received[len(h.Received)/2].Data[0]++ },
		"too long":             func(h *link.Handshake) { h.Sent = append(h.Sent, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, first, _, h := recorded(t)
			first.Close()
			alter(&h)
			other, _ := socketPair(t)
			_, err := link.Resume(ctx, other, h)
			require.Error(t, err)
			t.Log(err)
		})
	}
}

// recorded returns a client, the agent's end of its stream, and how they met.
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

// turning is a port whose host can be changed without the agent's notice.
type turning struct {
	mu     sync.Mutex
	conn   net.Conn
	turned chan struct{} // closed once it was, or has been closed
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

func TestCheckOfARecord(t *testing.T) {
	ctx, _, _, h := recorded(t)
	require.NoError(t, h.Check(ctx))
	require.NoError(t, h.Check(ctx), "a check leaves the record as it is")
	h.Sent[len(h.Sent)-1]++
	require.Error(t, h.Check(ctx))
}
