package host

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCacheDirIsAbsolute(t *testing.T) {
	t.Setenv("VMTEST_CACHE", "cache")
	_, err := CacheDir()
	var lacks *Error
	require.ErrorAs(t, err, &lacks)
	assert.ErrorContains(t, err, `VMTEST_CACHE is "cache", not an absolute path`)

	t.Setenv("VMTEST_CACHE", "/var/cache/x/")
	dir, err := CacheDir()
	require.NoError(t, err)
	assert.Equal(t, "/var/cache/x", dir)
}
