package scenarios

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/lack"
)

// make test shows each test as it ends, and all that a failed or a hanging one prints.
func TestMakeShowsFailures(t *testing.T) {
	hostSide(t)
	needCheckout(t)
	needGo(t)
	if _, err := exec.LookPath("make"); err != nil {
		lack.Skip(t, "no make on PATH: install make")
	}
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	out, err := exec.Command("make", "-s", "-n", "-C", root, "unit").Output()
	require.NoError(t, err)
	m := regexp.MustCompile(`gotestsum (.*) -- -short`).FindSubmatch(out)
	require.NotNil(t, m, "make unit is to run:\n%s", out)

	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.org/made\n\ngo 1.26\n",
		"a/a_test.go": `package a
import "testing"
func TestPasses(t *testing.T) {}
func TestFails(t *testing.T) { for i := range 300 { t.Logf("line %d.", i) }; t.Error("the reason") }`,
		"b/b_test.go": `package b
import "testing"
func TestHangs(t *testing.T) { t.Log("the last step"); select {} }`,
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	args := append([]string{"tool", "-modfile=" + filepath.Join(root, "tools.mod"), "gotestsum"}, strings.Fields(string(m[1]))...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, "--", "-timeout=2s", "./...")...)
	cmd.Dir = dir
	out, err = cmd.CombinedOutput()
	require.ErrorAs(t, err, new(*exec.ExitError), "the exit status of failed tests")
	for want, what := range map[string]string{
		"PASS a.TestPasses": "a test that passes", "line 0.": "the first line of a failed test", "line 150.": "its middle",
		"the reason": "its last line", "the last step": "what a hanging test did", "panic: test timed out after 2s": "where it hangs",
	} {
		assert.True(t, strings.Contains(string(out), want), "make test does not show %s", what)
	}
}
