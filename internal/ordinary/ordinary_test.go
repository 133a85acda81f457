package ordinary

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The user may use the files that it is given, and no others of root.
func TestRun(t *testing.T) {
	given, kept := filepath.Join(t.TempDir(), "given"), filepath.Join(t.TempDir(), "kept")
	require.NoError(t, os.Mkdir(given, 0o700))
	require.NoError(t, os.Mkdir(kept, 0o500))
	assert.NoError(t, Run([]string{given}, func() error { return os.WriteFile(filepath.Join(given, "file"), nil, 0o600) }))
	err := Run([]string{given}, func() error { return os.WriteFile(filepath.Join(kept, "file"), nil, 0o600) })
	assert.ErrorIs(t, err, os.ErrPermission)

	failed := errors.New("failed")
	assert.Equal(t, failed, Run(nil, func() error { return failed }))
	user := os.Geteuid()
	require.NoError(t, Run(nil, func() error {
		assert.NotZero(t, syscall.Geteuid())
		return nil
	}))
	assert.Equal(t, user, os.Geteuid())
}
