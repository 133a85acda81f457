package images

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
)

// A file that cannot be opened is no damage: its image may be whole.
func TestVerifyFileReturnsTheCause(t *testing.T) {
	_, image := builtSample(t)
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	// The lowest free descriptor becomes the limit, so no file can be opened.
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	next := uint64(f.Fd())
	require.NoError(t, f.Close())
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: next, Max: limit.Max}))
	_, err = verifyFile(t.Context(), image.Dir(), image.Files[0], host.Identity{})
	require.ErrorIs(t, err, syscall.EMFILE)
	assert.NotErrorAs(t, err, new(damage))
}

func TestHashEndsWithContext(t *testing.T) {
	c, image := builtSample(t)
	require.NoError(t, os.Remove(c.stamp("sample")))
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	_, err := verify(ctx, image.Dir(), c.stamp("sample"), "sample")
	require.ErrorIs(t, err, gone)
	assert.NotErrorAs(t, err, new(damage))
}

func TestCheckNoticesReplacement(t *testing.T) {
	for name, replace := range map[string]func(*testing.T, cache, *Image){
		"built again": func(t *testing.T, c cache, _ *Image) {
			_, err := c.replace(t.Context(), "build", "sample", &reporter{}, sampleBuild)
			require.NoError(t, err)
		},
		"removed": func(t *testing.T, c cache, _ *Image) {
			require.NoError(t, c.remove(t.Context(), "sample", &reporter{}))
		},
		"a module altered": func(t *testing.T, _ cache, i *Image) {
			require.NoError(t, flipKeepingTimes(filepath.Join(i.ModulesDir(), "lib", "overlay.ko")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, image := builtSample(t)
			require.NoError(t, image.Check())
			replace(t, c, image)
			assert.ErrorIs(t, image.Check(), ErrReplaced)
		})
	}
}
