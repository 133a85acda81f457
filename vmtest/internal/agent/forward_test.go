package agent_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/agent"
)

// TestCloseDelivers closes a connection right after a write. The other end gets all
// of it, and then no connection any more, without a timeout.
func TestCloseDelivers(t *testing.T) {
	agent.SetLingerTimeout(t, time.Hour)
	client, _ := stock(t, &agent.Server{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	got := make(chan error, 1)
	go func() {
		got <- func() error {
			conn, err := listener.Accept()
			if err != nil {
				return err
			}
			defer conn.Close()
			n, err := io.Copy(io.Discard, conn)
			if err != nil {
				return err
			}
			assert.EqualValues(t, 1<<20, n)
			for err == nil { // an end of data alone would let this go on
				_, err = conn.Write(make([]byte, 4096))
			}
			return nil
		}()
	}()
	conn, err := client.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	_, err = conn.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	assert.NoError(t, receive(t, "end of the connection", got))
}
