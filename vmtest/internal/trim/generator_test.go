package trim

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newRoot returns a directory that stands for a guest's file system, with the given
// kernel command line and a generator in /usr/lib that records its arguments.
func newRoot(t *testing.T, cmdline string) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, "proc/cmdline", cmdline+"\n", 0o444)
	write(t, root, "usr/lib/systemd/system-generators/demo-generator", "#!/bin/sh\necho \"$@\" >$1/ran\n", 0o755)
	return root
}

func write(t *testing.T, root, path, text string, mode os.FileMode) {
	t.Helper()
	path = filepath.Join(root, path)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
}

// generate runs the script of items for root as systemd does, with three directories.
func generate(t *testing.T, root string, items []Item, args ...string) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "generator")
	require.NoError(t, os.WriteFile(path, []byte(script(root, items)), 0o755))
	out, err := exec.Command(path, args...).CombinedOutput()
	assert.Empty(t, string(out), "output of the script")
	return err
}

// ran returns the arguments with which the generator of root ran, or "".
func ran(t *testing.T, root string, inputs ...string) string {
	t.Helper()
	dir := t.TempDir()
	items := []Item{
		{Kind: Generator, Name: "demo-generator", Reason: "masked for good"},
		{Kind: Generator, Name: "demo-generator", Unless: inputs},
		{Kind: Generator, Name: "missing-generator", Unless: inputs},
	}
	require.NoError(t, generate(t, root, items, dir, "early", "late"))
	text, err := os.ReadFile(filepath.Join(dir, "ran"))
	if err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
		return ""
	}
	require.Equal(t, dir+" early late\n", string(text))
	return string(text)
}

func TestScriptLooksForInputs(t *testing.T) {
	root := newRoot(t, `quiet rd.systemd.run-success_action=none luks.uuid=x "systemd.quoted=a b"`)
	write(t, root, "etc/table", "", 0o644)
	require.NoError(t, os.Symlink("/nowhere", filepath.Join(root, "dangling")))
	for _, inputs := range [][]string{
		{"/etc/table"}, {"/absent", "/dangling"}, {"/etc/t*"}, {"systemd.run"}, {"luks"}, {"systemd.quoted"},
	} {
		assert.NotEmpty(t, ran(t, root, inputs...), "with the inputs %q", inputs)
	}
	for _, inputs := range [][]string{{"/etc/other"}, {"systemd.mask"}, {"table"}} {
		assert.Empty(t, ran(t, root, inputs...), "with the inputs %q", inputs)
	}
}

func TestScriptLooksForInitScripts(t *testing.T) {
	root := newRoot(t, "")
	assert.Empty(t, ran(t, root, initScripts), "without /etc/init.d")
	write(t, root, "etc/init.d/README", "", 0o644)
	write(t, root, "etc/init.d/native", "#!/bin/sh\n", 0o755)
	write(t, root, "usr/lib/systemd/system/native.service", "", 0o644)
	write(t, root, "etc/init.d/masked.sh", "#!/bin/sh\n", 0o755)
	require.NoError(t, os.Symlink("/dev/null", filepath.Join(root, "usr/lib/systemd/system/masked.service")))
	write(t, root, "etc/init.d/local", "#!/bin/sh\n", 0o755)
	write(t, root, "etc/systemd/system/local.service", "", 0o644)
	assert.Empty(t, ran(t, root, initScripts), "each script has a unit")

	write(t, root, "etc/init.d/old", "#!/bin/sh\n", 0o755)
	assert.NotEmpty(t, ran(t, root, initScripts), "one script has no unit")
}

func TestScriptHeedsOtherDirectories(t *testing.T) {
	root := newRoot(t, "")
	write(t, root, "input", "", 0o644)
	write(t, root, "usr/local/lib/systemd/system-generators/demo-generator", "#!/bin/sh\n", 0o755)
	assert.Empty(t, ran(t, root, "/input"), "the replacement in /usr/local writes nothing")

	require.NoError(t, os.Remove(filepath.Join(root, "usr/local/lib/systemd/system-generators/demo-generator")))
	assert.NotEmpty(t, ran(t, root, "/input"))
	mask := filepath.Join(root, "etc/systemd/system-generators/demo-generator")
	write(t, root, "etc/systemd/system-generators/demo-generator", "", 0o755)
	assert.Empty(t, ran(t, root, "/input"), "an empty file in /etc masks")
	require.NoError(t, os.Remove(mask))
	require.NoError(t, os.Symlink("/dev/null", mask))
	assert.Empty(t, ran(t, root, "/input"), "a link to /dev/null in /etc masks")
}

func TestScriptReportsFailure(t *testing.T) {
	root := newRoot(t, "")
	write(t, root, "input", "", 0o644)
	write(t, root, "usr/lib/systemd/system-generators/bad-generator", "#!/bin/sh\nexit 3\n", 0o755)
	dir := t.TempDir()
	err := generate(t, root, []Item{
		{Kind: Generator, Name: "bad-generator", Unless: []string{"/input"}},
		{Kind: Generator, Name: "demo-generator", Unless: []string{"/input"}},
	}, dir, "early", "late")
	assert.Error(t, err)
	assert.FileExists(t, filepath.Join(dir, "ran"), "the generators after one that failed run")
}

func TestScriptAddsDependencies(t *testing.T) {
	root, dir := newRoot(t, ""), t.TempDir()
	items := []Item{{Kind: Unit, Name: "multi-user.target.wants/a.service", Unless: []string{"/users/*"}}}
	link := filepath.Join(dir, "early", items[0].Name)
	args := []string{dir, filepath.Join(dir, "early"), filepath.Join(dir, "late")}

	require.NoError(t, generate(t, root, items, args...))
	assert.NoFileExists(t, link)

	write(t, root, "users/somebody", "", 0o644)
	require.NoError(t, generate(t, root, items, args...))
	target, err := os.Readlink(link)
	require.NoError(t, err)
	assert.Equal(t, "../a.service", target)
}
