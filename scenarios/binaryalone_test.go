package scenarios

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The command vmtest needs neither a Go module nor the go command: a static one is the
// guest's agent itself.
func TestBinaryAlone(t *testing.T) {
	hostSide(t)
	needGo(t)
	dir, tools := t.TempDir(), t.TempDir()
	binary := filepath.Join(dir, "vmtest")
	build := exec.Command("go", "build", "-o", binary, "example.org/systemd-vmtest/vmtest/cmd/vmtest")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.CopyFS(filepath.Join(dir, "units"), os.DirFS("testdata/guide")))

	alone := exec.Command(binary, "run", "--units", "units", "systemctl", "show", "-p", "Accept,LoadState", "demo-echo.socket")
	alone.Dir = dir
	alone.Env = append(alone.Environ(), "PATH="+tools, "VMTEST_AGENT=", "VMTEST_IMAGE="+imageDir(t))
	alone.Stderr = os.Stderr
	for _, name := range []string{"qemu-system-x86_64", "qemu-system-aarch64"} {
		if path, err := exec.LookPath(name); err == nil {
			require.NoError(t, os.Symlink(path, filepath.Join(tools, name)))
		}
	}
	out, err = alone.Output()
	require.NoError(t, err)
	assert.Equal(t, "Accept=yes\nLoadState=loaded\n", string(out))
}
