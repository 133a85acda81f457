package vmtest

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// A launch releases its slot if it ends its goroutine, as require does.
func TestSlotAfterGoexit(t *testing.T) {
	t.Setenv("VMTEST_CACHE", t.TempDir())
	t.Setenv("VMTEST_SLOTS", "1")
	config, err := Config{}.complete()
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = launchInSlot(t.Context(), config, func(context.Context) (*Machine, error) { runtime.Goexit(); return nil, nil })
	}()
	<-ended
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // a free slot needs no wait
	defer cancel()
	slot, err := acquireSlot(ctx, "", config)
	require.NoError(t, err)
	require.NoError(t, slot.Release())
}

// A tool's wait for a slot inside a test ends while there is time for evidence.
func TestLaunchEndsBeforeTheProcess(t *testing.T) {
	t.Setenv("VMTEST_CACHE", filepath.Join(t.TempDir(), "cache"))
	t.Setenv("VMTEST_SLOTS", "1")
	config, err := Config{}.complete()
	require.NoError(t, err)
	endProcess(t, deadline.Reserve+100*time.Millisecond)
	_, err = launchInSlot(t.Context(), config, func(ctx context.Context) (*Machine, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	assert.EqualError(t, err, "the test's time is up (go test -timeout) but for 20s of evidence")
}
