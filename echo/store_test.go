package echo

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stored returns the next connection that the server stores, under its name.
func (m manager) stored(t *testing.T) *os.File {
	t.Helper()
	state, file := m.next(t)
	name, ok := strings.CutPrefix(state, "FDSTORE=1\nFDNAME=")
	require.True(t, ok, "message %q", state)
	require.NotNil(t, file, "descriptor with %q", state)
	return renamed(t, file, name)
}

// expect expects the next message. when, if any, says what it must come before.
func (m manager) expect(t *testing.T, want string, when ...string) {
	t.Helper()
	state, _ := m.next(t)
	require.Equal(t, want, state, strings.Join(append([]string{"message to systemd"}, when...), " "))
}

// A connection goes on with the next process, however the first one ends, and counts
// against the bound there.
func TestStoredConnectionGoesOn(t *testing.T) {
	m := newManager(t)
	sockets, address := listen(t, "tcp")
	r := start(t, Server{Store: true, DrainTimeout: patience}, sockets)
	m.expect(t, "READY=1")
	conn := dial(t, "tcp", address)
	ping(t, conn)
	file := m.stored(t)
	r.stop()
	m.expect(t, "STOPPING=1")
	require.NoError(t, r.wait(t))
	assert.Contains(t, r.log.String(), `msg="connection left to the next process"`)
	send(t, conn, "ping") // nobody reads it yet

	sockets, err := Sort([]*os.File{listenerFile(t, "tcp", "127.0.0.1:0", "test-tcp"), duplicate(t, file)})
	require.NoError(t, err)
	waiting := dial(t, "tcp", sockets.Listeners[0].Addr().String())
	r = start(t, Server{Store: true, MaxConnections: 1}, sockets)
	m.expect(t, "READY=1")
	assert.Equal(t, file.Name(), m.stored(t).Name(), "name in the store, from the first process and from the second")
	assert.Equal(t, "ping", receive(t, conn, 1)[0])
	got, err := exchange(conn, []byte("bye"))
	require.NoError(t, err, "although the store still has the connection")
	assert.Equal(t, "bye", string(got))
	m.expect(t, "FDSTOREREMOVE=1\nFDNAME="+file.Name(), "before the next client is served: the stored connection counts, and the bound is 1")
	ping(t, waiting)
	require.NoError(t, waiting.Close())
	m.stored(t)
	r.stop()
	require.NoError(t, r.wait(t))
	log := r.log.String()
	assert.Contains(t, log, "stored=true peer="+conn.LocalAddr().String()+" listener=test-tcp event=accept")
	assert.Contains(t, log, "event=full listener=test-tcp connections=1")
	assert.Less(t, strings.Index(log, "event=full"), strings.Index(log, "peer="+waiting.LocalAddr().String()))
}

func duplicate(t *testing.T, file *os.File) *os.File {
	t.Helper()
	conn, err := net.FileConn(file)
	require.NoError(t, err)
	defer conn.Close()
	dup, err := conn.(interface{ File() (*os.File, error) }).File()
	require.NoError(t, err)
	return renamed(t, dup, file.Name())
}

// What was read and not sent back would be lost to the next process, so the client of
// such a connection must notice.
func TestStoredConnectionOfClientThatDoesNotRead(t *testing.T) {
	m := newManager(t)
	sockets, address := listen(t, "tcp")
	r := start(t, Server{Store: true, DrainTimeout: 10 * time.Millisecond}, sockets)
	m.expect(t, "READY=1")
	conn := dial(t, "tcp", address)
	file := m.stored(t)
	// The server blocks when all buffers are full.
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(time.Second)))
	_, err := conn.Write(make([]byte, 64<<20))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	r.stop()
	m.expect(t, "STOPPING=1")
	m.expect(t, "FDSTOREREMOVE=1\nFDNAME="+file.Name())
	require.NoError(t, r.wait(t))
	require.NoError(t, file.Close())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	_, err = io.Copy(io.Discard, conn)
	assert.ErrorContains(t, err, "connection reset by peer")
}
