package guest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// The end of a stream has how journalctl ended and what it printed, and there is none left
// that holds the port.
func TestEndOfJournalStream(t *testing.T) {
	var f follower
	assert.Equal(t, JournalEnd{}, f.end())
	port, err := os.CreateTemp(t.TempDir(), "port")
	require.NoError(t, err)
	defer port.Close()
	start := func(script string) {
		t.Helper()
		require.NoError(t, f.start(exec.Command("sh", "-c", script), port))
	}
	start("echo 'Failed to open files' >&2; exit 3")
	<-f.done
	assert.Equal(t, JournalEnd{Cause: "exit status 3; it printed: Failed to open files"}, f.end())
	start("kill -9 $$")
	<-f.done
	assert.Equal(t, JournalEnd{Cause: "signal: killed"}, f.end())
	start("exec sleep 1000")
	pid := f.cmd.Process.Pid
	assert.Equal(t, JournalEnd{Stopped: true}, f.end())
	assert.NoDirExists(t, fmt.Sprintf("/proc/%d", pid))
	assert.Equal(t, JournalEnd{}, f.end())

	var sent JournalEnd
	require.NoError(t, ssh.Unmarshal(ssh.Marshal(JournalEnd{true, "x"}), &sent))
	assert.Equal(t, JournalEnd{true, "x"}, sent)
}
