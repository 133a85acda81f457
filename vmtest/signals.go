package vmtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"example.org/systemd-vmtest/internal/tail"
)

// signals are those that a D-Bus connection delivers from watchSignals on.
type signals struct {
	conn *godbus.Conn
	ch   chan *godbus.Signal
}

// watchSignals begins to collect signals. Begin before asking for the state whose
// changes they announce, or the one in between is missed.
func watchSignals(conn *godbus.Conn) signals {
	s := signals{conn: conn, ch: make(chan *godbus.Signal, 256)}
	conn.Signal(s.ch)
	return s
}

func (s signals) close() { s.conn.RemoveSignal(s.ch) }

// next waits for a signal that is wanted.
func (s signals) next(ctx context.Context, wanted func(*godbus.Signal) bool) error {
	for {
		select {
		case signal, ok := <-s.ch:
			if !ok {
				return errors.New("wait for signal: systemd closed the connection")
			}
			if wanted(signal) {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for signal: %w", context.Cause(ctx))
		}
	}
}

// WaitSystemd calls look at first and again after each signal of the guest's systemd,
// until it says that it has seen what it was to see. It is for what systemd sends no
// signal of its own about, such as a socket's count of connections: something else
// always changes with it. look returns what it saw, for the error when ctx ends first.
func (m *Machine) WaitSystemd(ctx context.Context, look func(context.Context, *dbus.Conn) (saw string, done bool, err error)) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	conn, raw, err := m.dialSystemd(ctx)
	if err != nil {
		return m.waitError(ctx, err)
	}
	signals := watchSignals(raw)
	defer signals.close()
	for {
		saw, done, err := look(ctx, conn)
		if err != nil {
			return m.waitError(ctx, err)
		}
		if done {
			return nil
		}
		if err := signals.next(ctx, func(*godbus.Signal) bool { return true }); err != nil {
			return m.waitError(ctx, fmt.Errorf("%w; it is %s", err, tail.Printable(saw)))
		}
	}
}

// waitError says why a wait for systemd ended, of which err tells no more than that
// D-Bus did: the guest is gone, its agent is, or ctx has ended.
func (m *Machine) waitError(ctx context.Context, err error) error {
	cause := m.session().Err()
	if cause == nil {
		cause = context.Cause(ctx)
	}
	if cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return m.overdue(ctx, "lost", m.gone("lost", err))
}
