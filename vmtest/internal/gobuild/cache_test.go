package gobuild

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
)

func TestDropUnusedPrograms(t *testing.T) {
	dir := t.TempDir()
	year := time.Now().AddDate(-1, 0, 0)
	for name, age := range map[string]time.Time{
		"old": year, "old.lock": year, "old.sha256": year, "never-built.lock": year, "held": year, "held.lock": year,
		"used": time.Now(), "used.lock": year, "building.lock": time.Now(),
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Chtimes(path, age, age))
	}
	work := filepath.Join(dir, "old.work", "go-build1")
	require.NoError(t, os.MkdirAll(work, 0o700))
	lock, err := host.LockFile(t.Context(), filepath.Join(dir, "held.lock"), nil)
	require.NoError(t, err)
	defer lock.Close()

	require.NoError(t, dropPrograms(dir, time.Now().Add(-keepUnused)))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, f := range left {
		names = append(names, f.Name())
	}
	assert.Equal(t, []string{"building.lock", "held", "held.lock", "used", "used.lock"}, names)
}
