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
		_, _ = launchInSlot(t.Context(), config, func(context.Context, Config) (*Machine, error) { runtime.Goexit(); return nil, nil })
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
	_, err = launchInSlot(t.Context(), config, func(ctx context.Context, _ Config) (*Machine, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	assert.EqualError(t, err, "the test's time is up (go test -timeout) but for 20s of evidence")
}

// expectFreeSlot fails the test unless the only slot is free. name is as for acquireSlot:
// machines of tests do not wait for those without one.
func expectFreeSlot(t *testing.T, config Config, name, after string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // a free slot needs no wait
	defer cancel()
	slot, err := acquireSlot(ctx, name, config)
	require.NoError(t, err, "the slot is not free after %s", after)
	require.NoError(t, slot.Release())
}

// A machine holds its slot until it is closed, and a test until it ends.
func TestSlotIsReleased(t *testing.T) {
	t.Setenv("VMTEST_CACHE", t.TempDir())
	t.Setenv("VMTEST_SLOTS", "1")
	config, err := Config{LogUnexpected: true}.complete()
	require.NoError(t, err)
	here := func(context.Context, Config) (*Machine, error) { return machineHere(t), nil }
	t.Run("machine", func(t *testing.T) {
		m, err := launchInSlot(t.Context(), config, here)
		require.NoError(t, err)
		require.NoError(t, m.Close())
		expectFreeSlot(t, config, "", "the machine was closed")
	})
	t.Run("test", func(t *testing.T) {
		t.Run("one", func(t *testing.T) { startGuest(t, config, here) })
		expectFreeSlot(t, config, t.Name(), "the test ended")
	})
}
