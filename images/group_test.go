package images

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stubborn has a grandchild that holds the output open, as mmdebstrap has apt.
const stubborn = `sh -c 'echo up; sleep 1000' & wait`

func TestGroupEndsWithContext(t *testing.T) {
	g, err := newGroup()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer g.bind(ctx)()
	cmd := g.command("sh", "-c", stubborn)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	r := bufio.NewReader(out)
	_, err = r.ReadString('\n')
	require.NoError(t, err)
	cancel()
	_, err = io.Copy(io.Discard, r) // ends when the grandchild has ended
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
	g.close()
}

func TestGroupEndsWithItsProcess(t *testing.T) {
	h := startHelper(t, "group")
	h.expect(t, "up")
	require.NoError(t, h.cmd.Process.Signal(syscall.SIGKILL))
	// The grandchild has inherited the output, which ends with it.
	assert.False(t, h.lines.Scan())
	require.Error(t, h.cmd.Wait())
}

// A tool that succeeds may leave a daemon.
func TestGroupCloseLeavesNothing(t *testing.T) {
	g, err := newGroup()
	require.NoError(t, err)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd := g.command("sh", "-c", "sleep 1000 &")
	cmd.Stdout = w
	require.NoError(t, cmd.Run())
	require.NoError(t, w.Close())
	g.close()
	require.NoError(t, r.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err = r.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF, "the daemon holds the output open")
}

func helperGroup() int {
	g, err := newGroup()
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	cmd := g.command("sh", "-c", stubborn)
	cmd.Stdout = os.Stdout
	if err := cmd.Run(); err != nil {
		fmt.Println("error", err)
	}
	return 1
}
