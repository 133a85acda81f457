package echo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const patience = 20 * time.Second // limit for a server that hangs

func itoa(n int) string { return strconv.Itoa(n) }

// running is a Server in Serve. Read log only after wait.
type running struct {
	stop func()
	done chan error
	log  *bytes.Buffer
}

func start(t *testing.T, server Server, sockets Sockets) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{stop: cancel, done: make(chan error, 1), log: new(bytes.Buffer)}
	server.Log = slog.New(slog.NewTextHandler(r.log, nil))
	go func() { r.done <- server.Serve(ctx, sockets) }()
	return r
}

// wait returns the error of Serve, and checks that no connection is being served. though, if
// any, says why Serve should have returned.
func (r *running) wait(t *testing.T, though ...string) error {
	t.Helper()
	select {
	case err := <-r.done:
		stacks := make([]byte, 1<<20)
		assert.NotContains(t, string(stacks[:runtime.Stack(stacks, true)]), "echo.serve(", "goroutines after Serve")
		return err
	case <-time.After(patience):
		require.FailNow(t, "Serve did not return", strings.Join(though, ", "))
		return nil
	}
}

func listen(t *testing.T, network string) (Sockets, string) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	sockets, err := Sort([]*os.File{listenerFile(t, network, address, "test-"+network)})
	require.NoError(t, err)
	return sockets, sockets.Listeners[0].Addr().String()
}

func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// exchange sends payload, half-closes conn and returns what the server sends until
// it closes. It reads while it sends.
func exchange(conn net.Conn, payload []byte) ([]byte, error) {
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(payload)
		sent <- errors.Join(err, conn.(interface{ CloseWrite() error }).CloseWrite())
	}()
	got, err := io.ReadAll(conn)
	return got, errors.Join(err, <-sent)
}

// ping checks that the server echoes on conn, and leaves conn open. whose, if any, says
// which client's conn is.
func ping(t *testing.T, conn net.Conn, whose ...string) {
	t.Helper()
	client := strings.Join(append([]string{"a client"}, whose...), ": ")
	_, err := conn.Write([]byte("ping"))
	require.NoError(t, err, "the server does not read from %s", client)
	back := make([]byte, 4)
	_, err = io.ReadFull(conn, back)
	require.NoError(t, err, "the server does not answer %s", client)
	require.Equal(t, "ping", string(back))
}

func TestEcho(t *testing.T) {
	large := make([]byte, 10<<20)
	_, err := rand.Read(large)
	require.NoError(t, err)
	for _, network := range []string{"tcp", "unix"} {
		for name, payload := range map[string][]byte{
			"a line": []byte("socket activation works\n"), "nothing": {}, "NUL and invalid UTF-8": []byte("\x00\xff\xfe"), "10 MB": large,
		} {
			t.Run(network+"/"+name, func(t *testing.T) {
				sockets, address := listen(t, network)
				r := start(t, Server{}, sockets)
				conn := dial(t, network, address)
				got, err := exchange(conn, payload)
				require.NoError(t, err)
				assert.True(t, bytes.Equal(payload, got), "sent %d bytes, got %d back", len(payload), len(got))

				r.stop()
				require.NoError(t, r.wait(t))
				log := r.log.String()
				assert.Contains(t, log, "event=accept")
				assert.Contains(t, log, "listener=test-"+network)
				assert.Contains(t, log, fmt.Sprintf("event=close bytes=%d", len(payload)))
				if network == "tcp" {
					assert.Contains(t, log, "peer="+conn.LocalAddr().String())
				}
			})
		}
	}
}

func TestHalfCloseEndsTheEcho(t *testing.T) {
	sockets, address := listen(t, "tcp")
	r := start(t, Server{}, sockets)
	conn := dial(t, "tcp", address)
	ping(t, conn)
	ping(t, conn)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	r.stop()
	require.NoError(t, r.wait(t))
}

func TestSeveralClientsAtOnce(t *testing.T) {
	tcp, tcpAddress := listen(t, "tcp")
	unix, unixAddress := listen(t, "unix")
	r := start(t, Server{}, Sockets{Listeners: append(tcp.Listeners, unix.Listeners...)})
	// All connect before the first sends, so the server has to serve them at once.
	const clients = 40
	conns := make([]net.Conn, clients)
	for i := range conns {
		if i%2 == 0 {
			conns[i] = dial(t, "tcp", tcpAddress)
		} else {
			conns[i] = dial(t, "unix", unixAddress)
		}
	}
	var group sync.WaitGroup
	for i, conn := range conns {
		group.Go(func() {
			payload := bytes.Repeat([]byte(fmt.Sprintf("client %d\n", i)), 10_000)
			got, err := exchange(conn, payload)
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(payload, got), "echo of client %d", i)
		})
	}
	group.Wait()
	r.stop()
	require.NoError(t, r.wait(t))
	assert.Equal(t, clients, strings.Count(r.log.String(), "event=accept"))
	assert.Equal(t, clients, strings.Count(r.log.String(), "connection closed by client"))
}

func TestResetOfOneClientLeavesTheOthers(t *testing.T) {
	sockets, address := listen(t, "tcp")
	r := start(t, Server{}, sockets)
	good := dial(t, "tcp", address)
	bad := dial(t, "tcp", address)
	ping(t, good)
	ping(t, bad)
	require.NoError(t, bad.(*net.TCPConn).SetLinger(0))
	require.NoError(t, bad.Close())
	got, err := exchange(good, []byte("still here"))
	require.NoError(t, err)
	assert.Equal(t, "still here", string(got))
	r.stop()
	require.NoError(t, r.wait(t))
	assert.Regexp(t, `msg="connection broken".*peer=`+bad.LocalAddr().String()+`.*event=close bytes=4.*reset`, r.log.String())
}

func TestServeOneConnection(t *testing.T) {
	t.Setenv("REMOTE_ADDR", "192.0.2.1")
	t.Setenv("REMOTE_PORT", "4711")
	passed, client := acceptedTCP(t)
	sockets, err := Sort([]*os.File{passed})
	require.NoError(t, err)
	r := start(t, Server{}, sockets)
	got, err := exchange(client, []byte("one"))
	require.NoError(t, err)
	assert.Equal(t, "one", string(got))
	require.NoError(t, r.wait(t), "Serve, not stopped, after the end of its only connection")
	assert.Contains(t, r.log.String(), "remote_addr=192.0.2.1 remote_port=4711")
	assert.NotContains(t, r.log.String(), "event=drain")
}

func TestServeConnectionResetBeforeTheStart(t *testing.T) {
	passed, client := acceptedTCP(t)
	require.NoError(t, client.SetLinger(0))
	require.NoError(t, client.Close())
	sockets, err := Sort([]*os.File{passed})
	require.NoError(t, err)
	r := start(t, Server{}, sockets)
	require.NoError(t, r.wait(t))
	assert.Contains(t, r.log.String(), "event=close bytes=0")
}

func TestServeWithoutSockets(t *testing.T) {
	require.ErrorIs(t, new(Server).Serve(t.Context(), Sockets{}), ErrNoSockets)
}
