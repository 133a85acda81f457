package vm

import (
	"context"
	"sync"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
)

// eventLog is what QEMU's events have told of a machine so far.
type eventLog struct {
	mu      sync.Mutex
	seen    eventCount
	changed chan struct{} // closed and replaced at each change
}

type eventCount struct {
	portOpened int       // how often the agent opened the guest link's port
	portClosed int       // how often it closed it, or died
	migration  string    // last status of a migration, in or out
	shutdown   string    // why QEMU ends (its ShutdownCause)
	stopped    time.Time // when the guest was last stopped
	resumed    time.Time // when it was last let run
	over       bool      // QEMU sends no more
}

func newEventLog() *eventLog { return &eventLog{changed: make(chan struct{})} }

// follow reads events until QEMU has gone.
func (l *eventLog) follow(events <-chan qmp.Event) {
	for e := range events {
		l.update(func(seen *eventCount) {
			switch e.Event {
			case "VSERPORT_CHANGE":
				switch {
				case e.Data["id"] != qemu.LinkID:
				case e.Data["open"] == true:
					seen.portOpened++
				default:
					seen.portClosed++
				}
			case "SHUTDOWN":
				seen.shutdown, _ = e.Data["reason"].(string)
			case "STOP":
				seen.stopped = happened(e)
			case "RESUME":
				seen.resumed = happened(e)
			case "MIGRATION":
				seen.migration, _ = e.Data["status"].(string)
			}
		})
	}
	l.update(func(seen *eventCount) { seen.over = true })
}

// happened is QEMU's word on when, which no load of the host delays.
func happened(e qmp.Event) time.Time {
	return time.Unix(e.Timestamp.Seconds, e.Timestamp.Microseconds*1000)
}

func (l *eventLog) update(change func(*eventCount)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.seen)
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *eventLog) now() eventCount {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// wait returns once the events so far satisfy enough, or with qmp.ErrClosed when
// there will be no more.
func (l *eventLog) wait(ctx context.Context, enough func(eventCount) bool) error {
	for {
		l.mu.Lock()
		seen, changed := l.seen, l.changed
		l.mu.Unlock()
		if enough(seen) {
			return nil
		}
		if seen.over {
			return qmp.ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
