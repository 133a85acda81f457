package vm

import (
	"context"
	"sync"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
)

// eventLog keeps what QEMU's events have reported of a machine so far.
type eventLog struct {
	mu      sync.Mutex
	seen    events
	changed chan struct{} // closed and replaced at each change
}

// events are the events so far.
type events struct {
	portOpened    int       // how often the agent opened the guest link's port
	portClosed    int       // how often it closed the port, or died
	openedAt      int       // portClosed when it opened the port last
	journalClosed int       // how often journalctl closed the journal's port, or died
	systemdClosed int       // how often the agent closed the port of the connection to PID 1
	migration     string    // last status of a migration, in or out
	panicked      bool      // the guest's kernel reported a panic to QEMU
	shutdown      string    // why QEMU ends (its ShutdownCause)
	stops         int       // how often the guest was stopped
	stopped       time.Time // when it was stopped last
	resumed       time.Time // when it was resumed first
	over          bool      // QEMU sends no more
}

func newEventLog() *eventLog { return &eventLog{changed: make(chan struct{})} }

// follow reads events until QEMU has gone.
func (l *eventLog) follow(from <-chan qmp.Event) {
	for e := range from {
		l.update(func(seen *events) { seen.add(e) })
	}
	l.update(func(seen *events) { seen.over = true })
}

func (seen *events) add(e qmp.Event) {
	switch e.Event {
	case "VSERPORT_CHANGE":
		switch {
		case e.Data["id"] == qemu.JournalID:
			if e.Data["open"] != true {
				seen.journalClosed++
			}
		case e.Data["id"] == qemu.SystemdID:
			if e.Data["open"] != true {
				seen.systemdClosed++
			}
		case e.Data["id"] != qemu.LinkID:
		case e.Data["open"] == true:
			seen.portOpened++
			seen.openedAt = seen.portClosed
		default:
			seen.portClosed++
		}
	case "GUEST_PANICKED":
		seen.panicked = true
	case "SHUTDOWN":
		seen.shutdown, _ = e.Data["reason"].(string)
	case "STOP":
		seen.stops++
		seen.stopped = eventTime(e)
	case "RESUME":
		if seen.resumed.IsZero() {
			seen.resumed = eventTime(e)
		}
	case "MIGRATION":
		seen.migration, _ = e.Data["status"].(string)
	}
}

// eventTime returns when QEMU sent an event. A busy host delays the event and not this
// time.
func eventTime(e qmp.Event) time.Time {
	return time.Unix(e.Timestamp.Seconds, e.Timestamp.Microseconds*1000)
}

func (l *eventLog) update(change func(*events)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.seen)
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *eventLog) now() events {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// wait returns once the events so far satisfy enough. It returns qmp.ErrClosed if there
// will be no more.
func (l *eventLog) wait(ctx context.Context, enough func(events) bool) error {
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

// waitPort waits until the agent has opened its port more than n times. It returns how often
// the port had been closed when it was opened last.
func (l *eventLog) waitPort(ctx context.Context, n int) (closed int, err error) {
	err = l.wait(ctx, func(seen events) bool {
		closed = seen.openedAt
		return seen.portOpened > n
	})
	return closed, err
}

// waitPortClosed waits until the port has been closed more than n times.
func (l *eventLog) waitPortClosed(ctx context.Context, n int) error {
	return l.wait(ctx, func(seen events) bool { return seen.portClosed > n })
}
