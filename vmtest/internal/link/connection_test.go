package link_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/agent"
	"example.org/systemd-vmtest/vmtest/internal/link"
)

// A client inside the session has what this one has, but for what is the host's alone.
func TestConnection(t *testing.T) {
	g := start(t, &agent.Server{Control: func(string, []byte) ([]byte, error) { return nil, nil }})
	conn, err := g.Connection(testContext(t))
	require.NoError(t, err)
	inner, err := link.Dial(testContext(t), conn)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, inner.Exec(testContext(t), link.Command{Args: []string{"cat"}, Stdin: bytes.NewReader(make([]byte, 1<<20)), Stdout: &out}))
	assert.Equal(t, 1<<20, out.Len())
	assert.Equal(t, g.HostKey().Marshal(), inner.HostKey().Marshal())

	_, err = g.Control(testContext(t), "wake", nil)
	require.NoError(t, err)
	var refused *link.ControlError
	_, err = inner.Control(testContext(t), "wake", nil)
	require.ErrorAs(t, err, &refused, "a control request of another process")
	_, err = inner.Connection(testContext(t))
	assert.EqualError(t, err, "dial ssh agent (guest): a connection inside another one carries none")

	// Its end ends its commands, and not the session around it.
	stdin, w := io.Pipe()
	defer w.Close()
	r, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- inner.Exec(testContext(t), link.Command{Args: []string{"sh", "-c", "echo $$; exec cat"}, Stdin: stdin, Stdout: stdout})
	}()
	pid := make([]byte, 16)
	n, err := r.Read(pid)
	require.NoError(t, err)
	require.NoError(t, inner.Close())
	assert.Error(t, receive(t, "end of the command", ended))
	require.NoError(t, g.Exec(testContext(t), sh("while kill -0 "+string(bytes.TrimSpace(pid[:n]))+" 2>/dev/null; do sleep 0.01; done")))
	require.NoError(t, g.Close())
}

// The session's end ends those inside.
func TestConnectionOfALostSession(t *testing.T) {
	g := start(t, &agent.Server{})
	conn, err := g.Connection(testContext(t))
	require.NoError(t, err)
	inner, err := link.Dial(testContext(t), conn)
	require.NoError(t, err)
	defer inner.Close()
	g.cancel()
	receive(t, "end of the session inside", inner.Done())
	assert.ErrorIs(t, inner.Err(), link.ErrLost)
}

// A peer that is no SSH client ends its own connection alone.
func TestConnectionOfRubbish(t *testing.T) {
	g := start(t, &agent.Server{})
	conn, err := g.Connection(testContext(t))
	require.NoError(t, err)
	_, err = conn.Write(append([]byte("SSH-2.0-test\r\n"), bytes.Repeat([]byte{0xff}, 64)...))
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, conn)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, g.Exec(testContext(t), sh("true")))
}

// A recorded session has the key, too.
func TestHostKeyOfARecord(t *testing.T) {
	_, first, _, h := recorded(t)
	defer first.Close()
	conn, nobody := net.Pipe()
	defer nobody.Close()
	resumed, err := link.Resume(testContext(t), conn, h)
	require.NoError(t, err)
	defer resumed.Close()
	assert.Equal(t, ssh.KeyAlgoED25519, resumed.HostKey().Type())
	assert.Equal(t, first.HostKey().Marshal(), resumed.HostKey().Marshal())
}
