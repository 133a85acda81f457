package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUnitSets(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a/x.socket", "a/x@.service", "a/README", "a/x.socket.d/more.conf", "b/y.timer", "b/y.service"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, nil, 0o644))
	}
	sets, err := unitSets([]string{"b/y.timer", "a/", "b/../b/y.service", "b/y.timer"})
	require.NoError(t, err)
	assert.Equal(t, []unitSet{
		{dir: "b", units: []string{"y.service", "y.timer"}},
		{dir: "a", units: []string{"x.socket", "x@.service"}, whole: true},
	}, sets)
	assert.Equal(t, "b/y.service b/y.timer", sets[0].String())
	assert.Equal(t, "a", sets[1].String())
	assert.Equal(t, []string{"/etc/systemd/system/x.socket", "/etc/systemd/system/x@.service"}, sets[1].guestPaths("/etc/systemd/system"))
}

func TestExtraFiles(t *testing.T) {
	files, err := extraFiles([]string{"./demo-echo:/usr/local/bin/demo-echo", "c:/x:/etc/x/"})
	require.NoError(t, err)
	assert.Equal(t, []extraFile{{"./demo-echo", "/usr/local/bin/demo-echo"}, {"c:/x", "/etc/x"}}, files)
	for _, bad := range []string{"", "a", "a:b", ":/b"} {
		_, err := extraFiles([]string{bad})
		assert.Error(t, err, bad)
	}
}
