package link

import (
	"io"
	"reflect"
	"sync/atomic"
	"time"
)

// gate passes writes on until it is shut, so that a caller's writer is not used after
// the call has returned. One write is in progress at a time.
type gate struct {
	w      io.Writer
	turn   chan struct{}
	closed atomic.Bool
}

func newGate(w io.Writer) *gate {
	return &gate{w: w, turn: make(chan struct{}, 1)}
}

func (g *gate) Write(p []byte) (int, error) {
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	if g.closed.Load() {
		return len(p), nil
	}
	return g.w.Write(p)
}

// shut waits for the write in progress, at most for wait.
func (g *gate) shut(wait time.Duration) {
	g.closed.Store(true)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case g.turn <- struct{}{}:
		<-g.turn
	case <-timer.C:
	}
}

// same reports whether two writers are the same. A comparison of interfaces panics if
// the type in them is not comparable.
func same(a, b io.Writer) bool {
	return a != nil && b != nil && reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}
