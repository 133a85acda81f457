package gobuild

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAgentThatCannotBeBuilt(t *testing.T) {
	const module = "module example.com/daemon\n\ngo 1.26\n"
	for name, c := range map[string]struct {
		files      map[string]string
		path       string // PATH; "" leaves it
		cause, way string
	}{
		"outside a module": {
			cause: "build the guest's agent: no Go module around the current folder",
			way:   "(run in the folder of a module that requires example.org/systemd-vmtest, or set VMTEST_AGENT to",
		},
		"vendored without it": {
			files: map[string]string{"go.mod": module, "vendor/modules.txt": ""},
			cause: "/vendor lacks its package",
			way:   "(run go mod edit -tool=" + agentPackage + " && go mod tidy && go mod vendor, or set VMTEST_AGENT to",
		},
		"in a module that does not require it": {
			files: map[string]string{"go.mod": module},
			cause: "build " + agentPackage + " for the guest: exit status 1",
			way:   "go get " + agentPackage, // the go command's own advice
		},
		"without a go command": {
			path:  "/nowhere",
			cause: "build the guest's agent: there is no go command",
			way:   "(put it on PATH, or set VMTEST_AGENT to",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				path := filepath.Join(dir, name)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
				require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			}
			t.Chdir(dir)
			t.Setenv("VMTEST_CACHE", t.TempDir())
			t.Setenv("VMTEST_AGENT", "")
			t.Setenv("VMTEST_GO_PREBUILT", "")
			if c.path != "" {
				t.Setenv("PATH", c.path)
			}
			_, err := Agent(t.Context(), runtime.GOARCH, silent(t))
			assert.ErrorContains(t, err, c.cause)
			assert.ErrorContains(t, err, c.way)
		})
	}
}

func TestAgentThatIsNone(t *testing.T) {
	t.Setenv("VMTEST_AGENT", "agent_test.go")
	_, err := Agent(t.Context(), runtime.GOARCH, silent(t))
	assert.ErrorContains(t, err, "use agent_test.go, the agent that VMTEST_AGENT names: read executable")
}
