package slots

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	firstNotice = 10 * time.Second // a shorter wait raises no question
	nextNotice  = 30 * time.Second
)

// reminder tells a person from time to time about a wait that lasts.
type reminder struct {
	limit    int
	ahead    *atomic.Int64
	quit     chan struct{}
	finished chan struct{}
}

// startReminder returns a reminder that calls say with the number of machines ahead, until
// it is stopped.
func startReminder(limit int, ahead *atomic.Int64, say func(string)) *reminder {
	r := &reminder{limit: limit, ahead: ahead, quit: make(chan struct{}), finished: make(chan struct{})}
	if say == nil {
		close(r.finished)
		return r
	}
	go func() {
		defer close(r.finished)
		wait := firstNotice
		for {
			select {
			case <-time.After(wait):
				say(r.text())
				wait = nextNotice
			case <-r.quit:
				return
			}
		}
	}()
	return r
}

func (r *reminder) text() string {
	ahead := int(r.ahead.Load())
	if ahead < r.limit {
		return fmt.Sprintf("waiting for memory for one more machine: %d ahead, limit %d (VMTEST_SLOTS)", ahead, r.limit)
	}
	return fmt.Sprintf("waiting for a slot: %d ahead, limit %d (VMTEST_SLOTS)", ahead, r.limit)
}

// stop returns when no call of say can come any more.
func (r *reminder) stop() {
	close(r.quit)
	<-r.finished
}
