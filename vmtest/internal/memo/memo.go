// Package memo keeps what a process makes once.
package memo

import (
	"context"
	"sync"
)

// Memo keeps one value for each key for the life of the process. The zero value is
// ready. It must not be copied after its first use.
type Memo[K comparable, V any] struct {
	mu   sync.Mutex
	made map[K]*making[V]
}

type making[V any] struct {
	done      chan struct{}
	value     V
	err       error
	abandoned bool // the maker's context or goroutine ended
}

// Get returns the value of key and calls create if there is none. Callers that ask
// while another one creates the value wait for it until ctx ends. A failure is kept
// as well, because a second attempt would fail in the same way. If create failed
// because its caller's ctx ended, or if it ended its goroutine as a test's FailNow does,
// the next caller creates the value.
func (m *Memo[K, V]) Get(ctx context.Context, key K, create func() (V, error)) (V, error) {
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

// make creates the value. The caller holds m.mu, which make unlocks.
func (m *Memo[K, V]) make(ctx context.Context, key K, create func() (V, error)) (V, error) {
	one := &making[V]{done: make(chan struct{})}
	if m.made == nil {
		m.made = make(map[K]*making[V])
	}
	m.made[key] = one
	m.mu.Unlock()
	returned := false
	defer func() {
		if !returned || one.err != nil && ctx.Err() != nil {
			one.abandoned = true
			m.mu.Lock()
			delete(m.made, key)
			m.mu.Unlock()
		}
		close(one.done)
	}()
	one.value, one.err = create()
	returned = true
	return one.value, one.err
}
