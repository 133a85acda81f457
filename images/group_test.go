package images

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

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
	g.close(true)
}

func TestGroupEndsWithItsProcess(t *testing.T) {
	h := startHelper(t, "group")
	h.expect(t, "up")
	require.NoError(t, h.cmd.Process.Signal(syscall.SIGKILL))
	// The grandchild has inherited the output, which ends with it.
	assert.False(t, h.lines.Scan())
	require.Error(t, h.cmd.Wait())
}

func TestGroupCloseLeavesNothing(t *testing.T) {
	g, err := newGroup()
	require.NoError(t, err)
	require.NoError(t, g.command("true").Run())
	leader := g.leader.Process.Pid
	g.close(false)
	assert.True(t, g.leader.ProcessState.Success())
	assert.ErrorIs(t, syscall.Kill(-leader, 0), syscall.ESRCH)
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
