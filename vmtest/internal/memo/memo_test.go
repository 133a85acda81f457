package memo

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMemoMakesOnce(t *testing.T) {
	var m Memo[string, int]
	var calls atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			v, err := m.Get(t.Context(), "key", func() (int, error) { return int(calls.Add(1)), nil })
			assert.NoError(t, err)
			assert.Equal(t, 1, v)
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, calls.Load())
	v, err := m.Get(t.Context(), "other", func() (int, error) { return 7, nil })
	require.NoError(t, err)
	assert.Equal(t, 7, v)
}

func TestMemoKeepsAFailure(t *testing.T) {
	var m Memo[string, int]
	fault := errors.New("no luck")
	_, err := m.Get(t.Context(), "key", func() (int, error) { return 0, fault })
	assert.ErrorIs(t, err, fault)
	_, err = m.Get(t.Context(), "key", func() (int, error) { return 2, nil })
	assert.ErrorIs(t, err, fault)
}

func TestMemoWaitsNoLongerThanItsContext(t *testing.T) {
	var m Memo[string, int]
	inMake, finish, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_, err := m.Get(context.Background(), "key", func() (int, error) {
			close(inMake)
			<-finish
			return 1, nil
		})
		assert.NoError(t, err)
	}()
	<-inMake
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.Get(ctx, "key", func() (int, error) { return 2, nil })
	assert.ErrorIs(t, err, context.Canceled)
	close(finish)
	<-done
}

// TestMemoOutlivesTheMakersContext has one caller wait for another whose context
// ends: the caller that waits makes the value itself.
func TestMemoOutlivesTheMakersContext(t *testing.T) {
	var m Memo[string, int]
	inMake, finish, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithCancel(context.Background())
		_, err := m.Get(ctx, "key", func() (int, error) {
			close(inMake)
			<-finish
			cancel()
			return 0, errors.New("any error")
		})
		assert.ErrorContains(t, err, "any error")
	}()
	<-inMake
	go close(finish)
	v, err := m.Get(t.Context(), "key", func() (int, error) { return 2, nil })
	require.NoError(t, err)
	assert.Equal(t, 2, v)
	<-done
}

// TestMemoOutlivesTheMakersGoroutine has one caller wait for another whose goroutine ends.
func TestMemoOutlivesTheMakersGoroutine(t *testing.T) {
	var m Memo[string, int]
	inMake, finish, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_, _ = m.Get(context.Background(), "key", func() (int, error) {
			close(inMake)
			<-finish
			runtime.Goexit()
			return 1, nil
		})
	}()
	<-inMake
	go close(finish)
	v, err := m.Get(t.Context(), "key", func() (int, error) { return 2, nil })
	require.NoError(t, err)
	assert.Equal(t, 2, v)
	<-done
}
