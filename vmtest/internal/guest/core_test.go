package guest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is no core dump is told apart.
func TestDescribeNoCore(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	text := filepath.Join(t.TempDir(), "core")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("text", 100)), 0o600))
	var out bytes.Buffer
	require.NoError(t, describeCores(&out, []string{exe, text, text + "-none"}))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3)
	for i, want := range []string{"no dump of this architecture", "bad magic number", "no such file"} {
		var c Core
		require.NoError(t, json.Unmarshal([]byte(lines[i]), &c))
		assert.Contains(t, c.Err, want)
	}
}

// A dump names the process, the signal and the functions. One that is cut anywhere does no harm.
func TestDescribeCore(t *testing.T) {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil || strings.ContainsAny(string(pattern), "|/%") {
		t.Skipf("this host's kernel.core_pattern is %q: the test needs a plain name", pattern)
	}
	dir := t.TempDir()
	shell := exec.Command("sh", "-c", "ulimit -c unlimited && kill -SEGV $$")
	shell.Dir = dir
	_ = shell.Run()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("this host does not let a process dump core")
	}
	core := Core{Path: files[0]}
	require.NoError(t, core.read())
	assert.Equal(t, shell.Process.Pid, core.PID)
	assert.Equal(t, "sh", core.Name)
	assert.Equal(t, 11, core.Signal)
	require.NotEmpty(t, core.Frames)
	assert.Contains(t, core.Frames[0], "kill+0x")

	whole, err := os.ReadFile(files[0])
	require.NoError(t, err)
	for n := 0; n < len(whole); n += 1 + len(whole)/200 {
		require.NoError(t, os.WriteFile(files[0], whole[:n], 0o600))
		_ = (&Core{Path: files[0]}).read()
	}
}
