package images

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTwoProcessesBuildOnce(t *testing.T) {
	c := testCache(t)
	first := startHelper(t, "open", "VMTEST_IMAGES_CACHE="+c.dir)
	first.expect(t, "building")
	second := startHelper(t, "open", "VMTEST_IMAGES_CACHE="+c.dir)
	second.expect(t, "waiting another process works on this image")

	// A third one gives up waiting.
	ctx, cancel := context.WithCancel(t.Context())
	r := &reporter{fn: func(p Progress) {
		if p.Stage == Waiting {
			cancel()
		}
	}}
	_, err := c.open(ctx, "sample", "", r, mustNotBuild)
	require.ErrorIs(t, err, context.Canceled)

	require.NoError(t, first.stdin.Close())
	first.expect(t, "finished")
	require.NoError(t, first.cmd.Wait())
	second.expect(t, "checking")
	assert.False(t, second.lines.Scan(), "the second process did more than check: %s", second.lines.Text())
	require.NoError(t, second.cmd.Wait())
}

// No two work on an image at once, although each holder removes the lock's file.
func TestWorkOnAnImageIsAlone(t *testing.T) {
	c := testCache(t)
	var working, builds atomic.Int32
	build := func(ctx context.Context, dir string, r *reporter) error {
		assert.EqualValues(t, 1, working.Add(1), "builds at once")
		defer working.Add(-1)
		builds.Add(1)
		return sampleBuild(ctx, dir, r)
	}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 5 {
				_, err := c.open(t.Context(), "sample", "", &reporter{}, build)
				assert.NoError(t, err)
				assert.NoError(t, c.remove(t.Context(), "sample", &reporter{}))
			}
		})
	}
	workers.Wait()
	assert.Positive(t, builds.Load())
	assert.Empty(t, c.files(t))
}
