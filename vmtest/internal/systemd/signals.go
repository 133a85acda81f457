package systemd

import (
	"context"
	"errors"
	"fmt"

	godbus "github.com/godbus/dbus/v5"
)

// signals are those that a D-Bus connection delivers from watchSignals on.
type signals struct {
	conn *godbus.Conn
	ch   chan *godbus.Signal
}

// watchSignals begins to collect signals. Call it before reading the state whose changes
// they announce, because a change in between would be missed.
func watchSignals(conn *godbus.Conn) signals {
	s := signals{conn: conn, ch: make(chan *godbus.Signal, 256)}
	conn.Signal(s.ch)
	return s
}

func (s signals) close() { s.conn.RemoveSignal(s.ch) }

// next waits for a signal that match accepts.
func (s signals) next(ctx context.Context, match func(*godbus.Signal) bool) error {
	for {
		select {
		case signal, ok := <-s.ch:
			if !ok {
				return errors.New("wait for signal: systemd closed the connection")
			}
			if match(signal) {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for signal: %w", context.Cause(ctx))
		}
	}
}
