package scenarios

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/lack"
)

// userModule is a module as a user makes it, with the lines of the README.
type userModule struct {
	t   *testing.T
	dir string
}

const commandVmtest = "example.org/systemd-vmtest/vmtest/cmd/vmtest"

func newUserModule(t *testing.T) userModule {
	t.Helper()
	needGo(t)
	m := userModule{t, t.TempDir()}
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(filepath.Join(m.dir, "units"), os.DirFS("testdata/guide")))
	for name, text := range map[string]string{
		"go.mod": "module example.com/mydaemon\n\ngo 1.26\n",
		"unit_test.go": `package mydaemon

import (
	"os"
	"testing"

	"example.org/systemd-vmtest/vmtest"
)

func TestListens(t *testing.T) {
	g := vmtest.Start(t, vmtest.Config{})
	g.CopyFS(t, os.DirFS("units"), "/etc/systemd/system")
	g.DaemonReload(t)
	g.Unit("demo-echo.socket").Start(t)
	g.Unit("demo-echo.socket").Wait(t, "listening")
}
`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600))
	}
	m.run("mod", "edit", "-require", "example.org/systemd-vmtest@v0.0.0", "-replace", "example.org/systemd-vmtest@v0.0.0="+root)
	return m
}

// run runs the go command, which must exit with 0, without a network. It returns the output.
func (m userModule) run(args ...string) string {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), "go", args...)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOPROXY=off", "GOWORK=off", "VMTEST_AGENT=", "VMTEST_IMAGE="+imageDir(m.t))
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(out), "module lookup disabled by GOPROXY=off") {
		lack.Skip(m.t, "the module cache lacks what go mod tidy reads in a user's module: run this test once with a network")
	}
	require.NoError(m.t, err, "go %s:\n%s", strings.Join(args, " "), out)
	return string(out)
}

// A user's module gets no more than it needs. It tests units, and runs the command once it has
// that as a tool.
func TestUserModule(t *testing.T) {
	hostSide(t)
	m := newUserModule(t)
	m.run("mod", "tidy")
	mod, err := os.ReadFile(filepath.Join(m.dir, "go.mod"))
	require.NoError(t, err)
	assert.Equal(t, 15, strings.Count(string(mod), "// indirect"), "modules besides this one (TestModules):\n%s", mod)
	sum, err := os.ReadFile(filepath.Join(m.dir, "go.sum"))
	require.NoError(t, err)
	assert.LessOrEqual(t, strings.Count(string(sum), "\n"), 65, "lines of go.sum")
	assert.Contains(t, m.run("test", "-count=1", "-v", "."), "--- PASS: TestListens")

	m.run("get", "-tool", commandVmtest)
	assert.Contains(t, m.run("tool", "vmtest", "--version"), "vmtest 0.0.0, go")
	assert.Contains(t, m.run("run", commandVmtest, "--version"), "vmtest 0.0.0, go")
	out := m.run("tool", "vmtest", "verify", "units")
	assert.Contains(t, out, "units on ")
	assert.NotContains(t, out, "guest's agent", "one that could not be built")
}

// The README's lines give the command, too.
func TestUserModuleOfReadme(t *testing.T) {
	hostSide(t)
	m := newUserModule(t)
	m.run("mod", "edit", "-tool="+commandVmtest)
	m.run("mod", "tidy")
	assert.Contains(t, m.run("run", commandVmtest, "--version"), "vmtest 0.0.0, go")
	assert.Contains(t, m.run("tool", "vmtest", "--version"), "vmtest 0.0.0, go")
}
