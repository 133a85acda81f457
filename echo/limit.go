package echo

import (
	"context"
	"sync"
)

// limit bounds how many connections of a listener are open at once. The zero value
// has no bound.
type limit struct {
	mu    sync.Mutex
	max   int // 0 means no bound
	open  int
	freed chan struct{} // closed when open or max changes; nil if nobody waits
}

// setMax changes the bound. Connections above a lower one stay open.
func (l *limit) setMax(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.max = n
	l.wake()
}

// add counts a connection regardless of the bound.
func (l *limit) add() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
}

// done gives a counted connection back.
func (l *limit) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	l.wake()
}

// wake makes those who wait in take look again.
func (l *limit) wake() {
	if l.freed != nil {
		close(l.freed)
		l.freed = nil
	}
}

// take counts a connection as soon as the bound allows it. It calls full if it has to
// wait for that. It reports false if ctx is done first.
func (l *limit) take(ctx context.Context, full func(max int)) bool {
	for waited := false; ; waited = true {
		freed, most := l.try()
		if freed == nil {
			return true
		}
		if !waited {
			full(most)
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return false
		}
	}
}

// try counts a connection if the bound allows it, and else returns the bound and a
// channel that is closed when that may have changed.
func (l *limit) try() (freed <-chan struct{}, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.max == 0 || l.open < l.max {
		l.open++
		return nil, 0
	}
	if l.freed == nil {
		l.freed = make(chan struct{})
	}
	return l.freed, l.max
}
