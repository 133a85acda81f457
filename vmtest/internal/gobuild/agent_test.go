package gobuild

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAgentBuildErrors(t *testing.T) {
	const module = "module example.com/daemon\n\ngo 1.26\n"
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	requires := "\nrequire example.org/systemd-vmtest v0.0.0\nreplace example.org/systemd-vmtest => " + root + "\n"
	for name, c := range map[string]struct {
		files       map[string]string
		path        string // PATH; "" leaves it
		cause, cure string
	}{
		"outside a module": {
			cause: "build the guest's agent: the working directory is not in a Go module",
			cure:  "(run in the directory of a module that requires example.org/systemd-vmtest, or set VMTEST_AGENT to",
		},
		"not vendored": {
			files: map[string]string{"go.mod": module, "vendor/modules.txt": ""},
			cause: "build the guest's agent: its package is not in /",
			cure:  "(run go mod edit -tool=" + agentPackage + " && go mod tidy && go mod vendor, or set VMTEST_AGENT to",
		},
		"not required by the module": {
			files: map[string]string{"go.mod": module},
			cause: "/go.mod does not require example.org/systemd-vmtest",
			cure:  "(run go get " + agentPackage,
		},
		"not tidy": {
			files: map[string]string{"go.mod": module + requires},
			cause: "/go.mod is not tidy",
			cure:  "(run go mod tidy, or set VMTEST_AGENT to",
		},
		"not tidy, without sums": {
			files: map[string]string{"go.mod": strings.Replace(module, "1.26", "1.26.0", 1) + requires},
			cause: "/go.mod is not tidy",
			cure:  "(run go mod tidy, or set VMTEST_AGENT to",
		},
		"no go command": {
			path:  "/nowhere",
			cause: "build the guest's agent: no go command on PATH",
			cure:  "(add it to PATH, or set VMTEST_AGENT to",
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
			_, err := Agent(t.Context(), runtime.GOARCH, noNotice(t))
			assert.ErrorContains(t, err, c.cause)
			assert.ErrorContains(t, err, c.cure)
		})
	}
}

func TestAgentIsNotExecutable(t *testing.T) {
	t.Setenv("VMTEST_AGENT", "agent_test.go")
	_, err := Agent(t.Context(), runtime.GOARCH, noNotice(t))
	assert.ErrorContains(t, err, "check VMTEST_AGENT: agent_test.go: read executable: ")
}

func TestAgentIsMissing(t *testing.T) {
	t.Setenv("VMTEST_AGENT", "missing")
	_, err := Agent(t.Context(), runtime.GOARCH, noNotice(t))
	assert.EqualError(t, err, "read VMTEST_AGENT: open missing: no such file or directory")
}
