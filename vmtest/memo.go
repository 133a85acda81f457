package vmtest

import (
	"context"
	"errors"
	"sync"
)

// memo keeps what is made once for a key in the life of a process. Who asks while
// another makes it waits for that, no longer than its context.
type memo[K comparable, V any] struct {
	mu   sync.Mutex
	made map[K]*making[V]
}

type making[V any] struct {
	done      chan struct{}
	value     V
	err       error
	abandoned bool // the maker's context ended
}

// get returns the value of a key, by calling create when there is none. A failure is
// kept too, for the next one would only wait for the same; but when it was the
// maker's own context that ended, another makes it.
func (m *memo[K, V]) get(ctx context.Context, key K, create func() (V, error)) (V, error) {
	for {
		m.mu.Lock()
		one := m.made[key]
		if one == nil {
			return m.make(ctx, key, create) // unlocks
		}
		m.mu.Unlock()
		select {
		case <-one.done:
		case <-ctx.Done():
			var none V
			return none, context.Cause(ctx)
		}
		if !one.abandoned {
			return one.value, one.err
		}
	}
}

// make creates the value with m.mu held, which it gives back.
func (m *memo[K, V]) make(ctx context.Context, key K, create func() (V, error)) (V, error) {
	one := &making[V]{done: make(chan struct{})}
	if m.made == nil {
		m.made = make(map[K]*making[V])
	}
	m.made[key] = one
	m.mu.Unlock()
	defer func() {
		if one.err != nil && ctx.Err() != nil {
			one.abandoned = true
			m.mu.Lock()
			delete(m.made, key)
			m.mu.Unlock()
		}
		close(one.done)
	}()
	one.err = errors.New("the one who made it panicked") // unless create returns
	one.value, one.err = create()
	return one.value, one.err
}
