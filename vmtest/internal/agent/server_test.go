package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/agent"
)

// deadline returns when the waits of a test must end: before go test's own timeout,
// which would not tell what the test waited for.
func deadline(tb testing.TB) time.Time {
	tb.Helper()
	limit := time.Now().Add(2 * time.Minute) // a host may be busy
	if t, ok := tb.(*testing.T); ok {
		if end, ok := t.Deadline(); ok && end.Add(-5*time.Second).Before(limit) {
			return end.Add(-5 * time.Second)
		}
	}
	return limit
}

// socketPair stands for the virtio port.
func socketPair(tb testing.TB) (net.Conn, net.Conn) {
	tb.Helper()
	a, b, err := host.ConnPair("port")
	require.NoError(tb, err)
	tb.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// serve runs a server until the test ends.
func serve(tb testing.TB, ctx context.Context, server *agent.Server) (host net.Conn, served <-chan error) {
	tb.Helper()
	host, port := socketPair(tb)
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() { result <- server.Serve(ctx, port) })
	tb.Cleanup(func() { cancel(); serving.Wait() })
	return host, result
}

// stock connects the client of the ssh package, which has only what the standards
// define.
func stock(tb testing.TB, server *agent.Server) (*ssh.Client, <-chan error) {
	tb.Helper()
	host, served := serve(tb, context.Background(), server)
	require.NoError(tb, host.SetDeadline(deadline(tb)))
	conn, channels, requests, err := ssh.NewClientConn(host, "", &ssh.ClientConfig{
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	require.NoError(tb, err)
	client := ssh.NewClient(conn, channels, requests)
	tb.Cleanup(func() { client.Close() })
	return client, served
}

func receive(tb testing.TB, what string, from <-chan error) error {
	tb.Helper()
	select {
	case err := <-from:
		return err
	case <-time.After(time.Until(deadline(tb))):
		require.FailNow(tb, "no "+what+" in time")
		return nil
	}
}

func TestServeIsSilentUntilThePeerSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host, port := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- new(agent.Server).Serve(t.Context(), port) }()
		heard := make(chan string, 1)
		go func() {
			greeting := make([]byte, len("SSH-2.0-"))
			n, _ := io.ReadFull(host, greeting)
			heard <- string(greeting[:n])
		}()
		synctest.Wait() // the server waits too
		require.Empty(t, heard, "the agent sent something before its peer spoke")

		_, err := io.WriteString(host, "SSH-2.0-test\r\n")
		require.NoError(t, err)
		assert.Equal(t, "SSH-2.0-", <-heard)
		host.Close()
		assert.ErrorContains(t, <-served, "shake hands with host")
	})
}

func TestServeRubbish(t *testing.T) {
	for name, rubbish := range map[string][]byte{
		"long line":      bytes.Repeat([]byte("x"), 1000),
		"after greeting": append([]byte("SSH-2.0-test\r\n"), bytes.Repeat([]byte{0xff}, 64)...),
		"old version":    []byte("SSH-1.0-test\r\n\x00\x00\x00\x0c\x0arubbish....."),
	} {
		host, served := serve(t, t.Context(), &agent.Server{})
		_, err := host.Write(rubbish)
		require.NoError(t, err)
		assert.ErrorContains(t, receive(t, "end of Serve", served), "shake hands with host", name)
	}
}

func TestServeContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	host, served := serve(t, ctx, &agent.Server{})
	cancel()
	assert.ErrorIs(t, receive(t, "end of Serve", served), context.Canceled)
	require.NoError(t, host.SetReadDeadline(deadline(t)))
	_, err := host.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err, "the stream must be closed")
}

func TestAlgorithms(t *testing.T) {
	client, _ := stock(t, &agent.Server{})
	algorithms := client.Conn.(ssh.AlgorithmsConnMetadata).Algorithms()
	assert.Equal(t, ssh.KeyExchangeCurve25519, algorithms.KeyExchange)
	assert.Equal(t, ssh.CipherChaCha20Poly1305, algorithms.Read.Cipher)
	assert.Equal(t, ssh.KeyAlgoED25519, algorithms.HostKey)
}

func TestGlobalRequests(t *testing.T) {
	client, _ := stock(t, &agent.Server{Control: func(name string, payload []byte) ([]byte, error) {
		if name == "sum" {
			return append(payload, '!'), nil
		}
		return nil, errors.New("no " + name)
	}})
	for _, test := range []struct {
		name, payload, reply string
		ok                   bool
	}{
		{"keepalive@openssh.com", "", "", true},
		{"sum@systemd-vmtest", "x", "x!", true},
		{"else@systemd-vmtest", "", "no else", false},
		{"tcpip-forward", "", "unknown request tcpip-forward", false},
	} {
		ok, reply, err := client.SendRequest(test.name, true, []byte(test.payload))
		require.NoError(t, err)
		assert.Equal(t, test.ok, ok, test.name)
		assert.Equal(t, test.reply, string(reply), test.name)
	}
	plain, _ := stock(t, &agent.Server{})
	ok, _, err := plain.SendRequest("sum@systemd-vmtest", true, nil)
	require.NoError(t, err)
	assert.False(t, ok, "without Control")
}

func TestChannelRefusals(t *testing.T) {
	client, _ := stock(t, &agent.Server{})
	for kind, text := range map[string]string{
		"x11":                            "unknown channel type x11",
		"direct-tcpip":                   "read address",
		"direct-streamlocal@openssh.com": "read path",
	} {
		_, _, err := client.OpenChannel(kind, []byte("rubbish"))
		assert.ErrorContains(t, err, text)
	}
	_, err := client.Dial("unix", "/no/such/socket")
	var refusal *ssh.OpenChannelError
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, "connect: no such file or directory", refusal.Message)
	// RFC 4254, section 5.1: private use from 0xFE000000 on.
	assert.EqualValues(t, 0xFE000000|uint32(unix.ENOENT), refusal.Reason)
}
