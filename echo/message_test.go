package echo

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSequentialPacketsKeepTheirBoundaries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	sockets, err := Sort([]*os.File{listenerFile(t, "unixpacket", path, "packets")})
	require.NoError(t, err)
	r := start(t, Server{}, sockets)
	client := dial(t, "unixpacket", path)
	messages := []string{"one", "two\nlines\n", strings.Repeat("x", maxMessage)}
	send(t, client, messages...)
	assert.Equal(t, messages, receive(t, client, len(messages)))
	require.NoError(t, client.(interface{ CloseWrite() error }).CloseWrite())
	_, err = client.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
	r.stop()
	require.NoError(t, r.wait(t))
	assert.Contains(t, r.log.String(), "network=unixpacket")
	assert.Contains(t, r.log.String(), "listener=packets event=close bytes=65549")
}

func TestSequentialPacketTooLong(t *testing.T) {
	passed, client := socketpair(t, syscall.SOCK_SEQPACKET)
	sockets, err := Sort([]*os.File{passed})
	require.NoError(t, err)
	r := start(t, Server{}, sockets)
	_, err = client.Write(make([]byte, maxMessage+1))
	require.NoError(t, err)
	require.NoError(t, r.wait(t))
	assert.Regexp(t, `msg="connection broken".*error="message of more than 65536 bytes"`, r.log.String())
}

// Connections share nothing: each client gets its own messages.
func TestSequentialPacketsOfSeveralClients(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	sockets, err := Sort([]*os.File{listenerFile(t, "unixpacket", path, "packets")})
	require.NoError(t, err)
	r := start(t, Server{}, sockets)
	var clients sync.WaitGroup
	for i := range 8 {
		client := dial(t, "unixpacket", path)
		clients.Go(func() {
			for range 100 {
				message := strings.Repeat(itoa(i), 1000)
				_, err := client.Write([]byte(message))
				assert.NoError(t, err)
				buf := make([]byte, maxMessage)
				n, err := client.Read(buf)
				assert.NoError(t, err)
				assert.Equal(t, message, string(buf[:n]), "message of client %d", i)
			}
			assert.NoError(t, client.Close())
		})
	}
	clients.Wait()
	r.stop()
	require.NoError(t, r.wait(t))
}
