package scenarios

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// module is a module of its own, such as a copy of testdata/templated, and a cache.
type module struct {
	t   *testing.T
	dir string
	env []string
}

// newModule copies testdata/templated and has it require this module.
func newModule(t *testing.T, cache string) *module {
	t.Helper()
	return newModuleOf(t, "testdata/templated", cache)
}

func newModuleOf(t *testing.T, source, cache string) *module {
	t.Helper()
	needGo(t)
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	m := &module{t: t, dir: t.TempDir()}
	require.NoError(t, os.CopyFS(m.dir, os.DirFS(source)))
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	m.write("go.sum", string(sums))
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	mod = regexp.MustCompile(`(?m)^(module|tool) .*$`).ReplaceAll(mod, nil)
	m.write("go.mod", "module example.org/"+filepath.Base(source)+"\n"+string(mod)+
		"\nrequire example.org/systemd-vmtest v0.0.0\nreplace example.org/systemd-vmtest => "+root+"\n")
	m.env = append(os.Environ(), "VMTEST_CACHE="+cache, "VMTEST_IMAGE="+imageDir(t), "GREET_VARIABLE=three")
	return m
}

func (m *module) write(name, text string) {
	m.t.Helper()
	require.NoError(m.t, os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600))
}

// goTest is a go test of one of its tests.
func (m *module) goTest(test string, env ...string) (cmd *exec.Cmd, output *bytes.Buffer) {
	cmd = exec.CommandContext(m.t.Context(), "go", "test", "-count=1", "-v", "-run=^"+test+"$", ".")
	cmd.Dir = m.dir
	cmd.Env = append(m.env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with the test binary
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	output = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, output
}

// run runs a test, which must pass, and returns the output.
func (m *module) run(test string, env ...string) string {
	m.t.Helper()
	cmd, output := m.goTest(test, env...)
	require.NoError(m.t, cmd.Run(), "output:\n%s", output)
	return output.String()
}

// The guests of all modules fork from one snapshot, whether a module replaces this one or
// vendors it.
func TestModulesShareASnapshot(t *testing.T) {
	t.Parallel()
	hostSide(t)
	cache := t.TempDir()
	replacing, vendoring := newModule(t, cache), newModule(t, cache)
	const agent = "example.org/systemd-vmtest/vmtest/cmd/agent"
	for _, args := range [][]string{{"mod", "edit", "-module=example.org/vendoring", "-tool=" + agent}, {"mod", "vendor"}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = vendoring.dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "go %s:\n%s", strings.Join(args, " "), out)
	}
	assert.Contains(t, useCache(t, cache, "VMTEST_IMAGE="+imageDir(t)), bootNotice, "output in this module")
	assert.NotContains(t, replacing.run("TestPlain"), bootNotice)
	assert.NotContains(t, vendoring.run("TestPlain"), bootNotice)
	cacheFile(t, cache, "snapshots/*/ram") // fails if there are two
}
