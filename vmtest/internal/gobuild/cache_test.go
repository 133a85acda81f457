package gobuild

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUnusedProgramsGo(t *testing.T) {
	dir := t.TempDir()
	year := time.Now().AddDate(-1, 0, 0)
	for name, age := range map[string]time.Time{
		"old": year, "old.lock": year, "never-built.lock": year, "held": year, "held.lock": year,
		"used": time.Now(), "used.lock": year, "building.lock": time.Now(),
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Chtimes(path, age, age))
	}
	lock, err := lockProgram(t.Context(), filepath.Join(dir, "held"))
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

// A lock on a file that has been removed keeps nobody out.
func TestLockOfARemovedFileIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	first, err := lockProgram(t.Context(), path)
	require.NoError(t, err)
	assert.True(t, holds(first))
	require.NoError(t, os.Remove(path+lockSuffix))
	assert.False(t, holds(first))

	second, err := lockProgram(t.Context(), path)
	require.NoError(t, err, "a new file")
	defer second.Close()
	require.NoError(t, first.Close())
	assert.True(t, holds(second))

	ctx, cancel := context.WithTimeout(t.Context(), 2*lockPoll)
	defer cancel()
	_, err = lockProgram(ctx, path)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}
