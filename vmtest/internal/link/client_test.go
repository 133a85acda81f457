package link_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// stoppable is a stream whose reader stops when told, as a stuck guest does.
type stoppable struct {
	io.ReadWriteCloser
	on   atomic.Bool
	gate chan struct{}
}

func (s *stoppable) Read(p []byte) (int, error) {
	n, err := s.ReadWriteCloser.Read(p)
	if s.on.Load() {
		<-s.gate
	}
	return n, err
}

func TestDialAndClose(t *testing.T) {
	checkLeaks(t)
	host, port := socketPair(t)
	served := make(chan error, 1)
	server := &agent.Server{}
	go func() { served <- server.Serve(context.Background(), port) }()
	client, err := link.Dial(testContext(t), host)
	require.NoError(t, err)
	require.NoError(t, client.Exec(testContext(t), sh("true")))
	require.NoError(t, client.Close())
	require.NoError(t, client.Close())
	assert.NoError(t, receive(t, "end of Serve", served), "a peer that leaves is no error")
	assertClosed(t, client.Err(), net.ErrClosed)
	assertClosed(t, client.Exec(testContext(t), sh("true")), net.ErrClosed)
}

// assertClosed checks that err says that this host closed the link.
func assertClosed(t *testing.T, err, cause error) {
	t.Helper()
	assert.ErrorIs(t, err, cause)
	assert.NotErrorIs(t, err, link.ErrLost)
}

// A caller that shuts a link says why. Calls in progress return that when the link ends,
// also if the guest ends it.
func TestShut(t *testing.T) {
	for name, end := range map[string]func(*guest){
		"close":     func(g *guest) { g.Close() },
		"guest end": func(g *guest) { g.port.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, &agent.Server{})
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer listener.Close()
			conn, err := g.Dial(testContext(t), "tcp", listener.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
			pending := make(chan error, 1)
			r, w := io.Pipe()
			cmd := sh("echo up; exec sleep 1000")
			cmd.Stdout = w
			go func() { pending <- g.Exec(context.Background(), cmd) }()
			_, err = io.ReadFull(r, make([]byte, 3))
			require.NoError(t, err)

			reason := errors.New("the machine is saved")
			g.Shut(reason)
			g.Shut(errors.New("again"))
			assert.Empty(t, pending, "the link is up")
			assertClosed(t, g.Ping(testContext(t)), reason)
			end(g)
			assertClosed(t, receive(t, "end of a command", pending), reason)
			_, err = conn.Read(make([]byte, 1))
			assertClosed(t, err, reason)
			_, err = g.ReadFile(testContext(t), "/etc/hostname")
			assertClosed(t, err, reason)
		})
	}
}

func TestDialRubbish(t *testing.T) {
	checkLeaks(t)
	host, port := socketPair(t)
	go func() {
		port.Write(bytes.Repeat([]byte("login: "), 100))
		port.Close()
	}()
	_, err := link.Dial(testContext(t), host)
	require.ErrorContains(t, err, "shake hands with guest")
	_, err = host.Write([]byte("x"))
	assert.ErrorIs(t, err, net.ErrClosed, "on an error conn is closed")
}

func TestDialContext(t *testing.T) {
	checkLeaks(t)
	host, _ := socketPair(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := link.Dial(ctx, host)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = host.Write([]byte("x"))
	assert.ErrorIs(t, err, net.ErrClosed)
}

func TestLostLinkEndsEverything(t *testing.T) {
	release := make(chan struct{})
	g := start(t, &agent.Server{Control: func(string, []byte) ([]byte, error) {
		<-release
		return nil, nil
	}})
	defer close(release)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	conn, err := g.Dial(testContext(t), "tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()

	pending := make(chan error, 3)
	r, w := io.Pipe()
	cmd := sh("echo up; exec sleep 1000")
	cmd.Stdout = w
	go func() { pending <- g.Exec(context.Background(), cmd) }()
	go func() {
		_, err := conn.Read(make([]byte, 1))
		pending <- err
	}()
	go func() {
		_, err := g.Control(context.Background(), "block", nil)
		pending <- err
	}()
	_, err = io.ReadFull(r, make([]byte, 3))
	require.NoError(t, err)
	assert.NoError(t, g.Err())

	g.port.Close() // the machine dies
	for range cap(pending) {
		assert.ErrorIs(t, receive(t, "end of a call", pending), link.ErrLost)
	}
	receive(t, "end of Done", g.Done())
	assert.ErrorIs(t, g.Err(), link.ErrLost)
	_, err = g.Dial(testContext(t), "unix", "/x")
	assert.ErrorIs(t, err, link.ErrLost)
	_, err = g.ReadFile(testContext(t), "/etc/hostname")
	assert.ErrorIs(t, err, link.ErrLost)
}

// slow is a deadline that ends a context as a cancellation with a cause.
type slow struct{}

func (slow) Error() string        { return "not done within 3s" }
func (slow) Is(target error) bool { return target == context.DeadlineExceeded }

func TestDeadlineIsSaidOnce(t *testing.T) {
	g := start(t, &agent.Server{})
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(slow{})
	assert.EqualError(t, g.Exec(ctx, sh("true")), "not done within 3s")
}

func TestPing(t *testing.T) {
	g := start(t, &agent.Server{})
	assert.NoError(t, g.Ping(testContext(t)))
	g.port.Close()
	assert.ErrorIs(t, g.Ping(testContext(t)), link.ErrLost)
}

func TestControl(t *testing.T) {
	g := start(t, &agent.Server{Control: func(name string, payload []byte) ([]byte, error) {
		if name == "echo" {
			return payload, nil
		}
		return nil, errors.New("what is " + name + "?")
	}})
	for _, payload := range []string{"", "\x00\xff", string(bytes.Repeat([]byte("x"), 200<<10))} {
		reply, err := g.Control(testContext(t), "echo", []byte(payload))
		require.NoError(t, err)
		assert.Equal(t, payload, string(reply))
	}
	_, err := g.Control(testContext(t), "clock", nil)
	var refusal *link.ControlError
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, "what is clock?", refusal.Message)
	_, err = g.Control(testContext(t), "echo", make([]byte, 1<<20))
	assert.ErrorContains(t, err, "above")
	assert.NoError(t, g.Exec(testContext(t), sh("true")), "the link must survive")
}
