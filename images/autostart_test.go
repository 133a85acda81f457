package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The hook removes the links that its command makes, and leaves the others.
func TestWithoutNewUnits(t *testing.T) {
	root := t.TempDir()
	link := func(path string) {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.Symlink("/usr/lib/systemd/system/a.service", path))
	}
	link("etc/systemd/system/multi-user.target.wants/old.service")
	link("etc/systemd/system/dbus.service")
	link("etc/rc2.d/S01old")
	command := `cd "$1"/etc && mkdir -p systemd/user/default.target.wants &&
		ln -s x systemd/system/multi-user.target.wants/new.service && ln -s x "systemd/system/new name.service" &&
		ln -s x systemd/user/default.target.wants/new.service && ln -s x rc2.d/S01new && cd /`
	out, err := exec.Command("sh", "-c", withoutNewUnits(command), "exec", root).CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Empty(t, string(out))
	for _, kept := range []string{"systemd/system/multi-user.target.wants/old.service", "systemd/system/dbus.service", "rc2.d/S01old"} {
		_, err := os.Lstat(filepath.Join(root, "etc", kept))
		assert.NoError(t, err)
	}
	for _, gone := range []string{"systemd/system/multi-user.target.wants/new.service", "systemd/system/new name.service",
		"systemd/user/default.target.wants/new.service", "rc2.d/S01new"} {
		_, err := os.Lstat(filepath.Join(root, "etc", gone))
		assert.ErrorIs(t, err, os.ErrNotExist, gone)
	}

	err = exec.Command("sh", "-c", withoutNewUnits("exit 3"), "exec", root).Run()
	assert.Error(t, err, "the command's failure is the hook's")
	err = exec.Command("sh", "-c", withoutNewUnits("false"), "exec", root).Run()
	assert.Error(t, err, "the command's failure is the hook's")
}
