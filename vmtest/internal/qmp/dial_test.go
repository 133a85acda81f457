package qmp

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStrangerIsTurnedAway has another process connect before this one.
func TestStrangerIsTurnedAway(t *testing.T) {
	if name := os.Getenv("QMP_TEST_DIAL"); name != "" {
		conn, err := net.Dial("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("connected")
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Fatal(n, err)
		}
		return
	}
	name := "@systemd-vmtest-" + rand.Text()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	require.NoError(t, err)
	defer l.Close()
	stranger := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStrangerIsTurnedAway$")
	stranger.Env = append(os.Environ(), "QMP_TEST_DIAL="+name)
	out, err := stranger.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, stranger.Start())
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "connected\n", line)

	own, err := net.Dial("unix", name)
	require.NoError(t, err)
	defer own.Close()
	conn, err := acceptOwn(l)
	require.NoError(t, err)
	defer conn.Close()
	_, err = own.Write([]byte("x"))
	require.NoError(t, err)
	got := make([]byte, 1)
	_, err = io.ReadFull(conn, got)
	require.NoError(t, err)
	assert.Equal(t, "x", string(got))
	_, _ = io.Copy(io.Discard, lines)
	assert.NoError(t, stranger.Wait(), "its connection is closed")
}
