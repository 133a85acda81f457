package vmtest

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A test that ends its goroutine while it prepares a machine, as require does, gives
// its slot to the next one.
func TestSlotOfALaunchThatNeverReturns(t *testing.T) {
	t.Setenv("VMTEST_CACHE", t.TempDir())
	t.Setenv("VMTEST_SLOTS", "1")
	config, err := Config{}.complete()
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = launchInSlot(t.Context(), config, func() (*Machine, error) { runtime.Goexit(); return nil, nil })
	}()
	<-ended
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // only a wait takes any
	defer cancel()
	slot, err := acquireSlot(ctx, "", config)
	require.NoError(t, err)
	require.NoError(t, slot.Release())
}
