// Package systemd talks from the host to a guest's systemd: PID 1 over D-Bus, and its
// journal.
package systemd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// PrivateSocket is where systemd answers D-Bus itself, with and without a bus
// (sd_bus_open_system_with_description(3) opens it for systemctl).
const PrivateSocket = "/run/systemd/private"

// Manager is a guest's systemd as the manager of its units. It connects when it is first
// used, and again when systemd has closed the connection, as it does on daemon-reexec.
// Its methods may be called from several goroutines.
type Manager struct {
	dial func(context.Context) (net.Conn, error)

	mu      sync.Mutex // held for moments only, and never while connecting
	current *connection
	opening *opening

	changes changes
}

// NewManager returns a Manager that reaches systemd's private socket through dial.
func NewManager(dial func(context.Context) (net.Conn, error)) *Manager {
	return &Manager{dial: dial}
}

// opening is a connection that is being made. All callers that need it share it.
type opening struct {
	cancel  context.CancelFunc
	waiters int
	closed  error         // why the Manager gave it up, if it did
	done    chan struct{} // closed once conn and err are set
	conn    *connection
	err     error
}

// Close closes the connection, or the attempt to make one. The next call makes
// another. Calls in progress return an error that wraps cause.
func (m *Manager) Close(cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current != nil {
		m.current.closed.Store(true)
		m.current.close(cause)
		m.current = nil
	}
	if m.opening != nil {
		m.opening.cancel()
		m.opening.closed = cause
		m.opening = nil
	}
}

// Conn returns a connection to systemd. The Manager closes it.
func (m *Manager) Conn(ctx context.Context) (*dbus.Conn, error) {
	c, err := m.connect(ctx)
	if err != nil {
		return nil, err
	}
	return c.view(ctx)
}

// connect returns the connection, and makes it if there is none. Callers share the
// attempt, and each leaves when its own ctx ends. The attempt ends with its last caller.
func (m *Manager) connect(ctx context.Context) (*connection, error) {
	m.mu.Lock()
	if c := m.current; c != nil {
		if c.connected() {
			m.mu.Unlock()
			return c, nil
		}
		c.close(net.ErrClosed)
		m.current = nil
	}
	o := m.opening
	if o == nil {
		openCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		o = &opening{cancel: cancel, done: make(chan struct{})}
		m.opening = o
		go m.open(openCtx, o)
	}
	o.waiters++
	m.mu.Unlock()

	var err error
	select {
	case <-o.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.waiters--; o.waiters == 0 {
		o.cancel()
		if m.opening == o {
			m.opening = nil
		}
	}
	if err != nil {
		return nil, connectError(err)
	}
	return o.conn, o.err
}

// open makes the connection of o.
func (m *Manager) open(ctx context.Context, o *opening) {
	conn, err := openConnection(ctx, m.dial, &m.changes)
	m.mu.Lock()
	defer m.mu.Unlock()
	defer close(o.done)
	if m.opening != o { // closed, or left by all callers
		o.closed = cmp.Or(o.closed, net.ErrClosed)
		if conn != nil {
			conn.close(o.closed)
		}
		o.err = connectError(o.closed)
		return
	}
	m.opening = nil
	m.current = conn
	o.conn, o.err = conn, err
}

// drop makes sure that no call gets c again.
func (m *Manager) drop(c *connection) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == c {
		m.current = nil
	}
	c.close(net.ErrClosed)
}

// errUnanswered is the error of a call that must not be made twice, and whose connection
// ended before its answer came.
var errUnanswered = errors.New("the connection to systemd ended before the answer")

// follow calls do with a connection and the signals that arrive on it. When systemd closes
// the connection under do, as on daemon-reexec, follow connects again and calls do again:
// the end of a connection is not the end of what do waits for. It is if this host closed the
// connection, because the next one may lead to another system.
func (m *Manager) follow(ctx context.Context, do func(*connection, *signals) error) error {
	var last time.Time // when the last connection ended, and the pause after it
	for {
		c, err := m.connect(ctx)
		if err != nil {
			return err
		}
		s := watchSignals(c)
		err = do(c, s)
		s.close()
		if err == nil || ctx.Err() != nil || errors.Is(err, errUnanswered) || !c.lost(err) || c.closedHere() {
			return c.explain(err)
		}
		m.drop(c)
		select {
		case <-time.After(redialPause - time.Since(last)):
		case <-ctx.Done():
			return fmt.Errorf("%w; %w", err, context.Cause(ctx))
		}
		last = time.Now()
	}
}
