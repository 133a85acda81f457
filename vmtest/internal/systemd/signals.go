package systemd

import (
	"context"
	"errors"
	"fmt"

	godbus "github.com/godbus/dbus/v5"
)

// signals are those that a connection delivers from watchSignals on.
type signals struct {
	conn *connection
	ch   chan *godbus.Signal

	// passing has the names of units that were loaded and unloaded again, and whose
	// removal is still to be announced.
	passing map[string]bool
}

// errDisconnected is the error of a wait for a signal on a connection that has ended.
var errDisconnected = errors.New("wait for signal: the connection to systemd ended")

// watchSignals begins to collect signals. Call it before reading the state whose changes
// they announce, because a change in between would be missed.
func watchSignals(c *connection) *signals {
	s := &signals{conn: c, ch: make(chan *godbus.Signal, 256), passing: make(map[string]bool)}
	c.raw.Signal(s.ch)
	return s
}

func (s *signals) close() { s.conn.raw.RemoveSignal(s.ch) }

// next waits for a signal that announces a change and that match accepts. It takes all
// other signals that have arrived by then too, because the caller looks after them.
func (s *signals) next(ctx context.Context, match func(*godbus.Signal) bool) error {
	for {
		signal, err := s.receive(ctx)
		if err != nil {
			return err
		}
		if !match(signal) {
			continue
		}
		if passing, err := s.passes(ctx, signal); err != nil || passing {
			if err != nil {
				return err
			}
			continue
		}
		s.drain()
		return nil
	}
}

func (s *signals) receive(ctx context.Context) (*godbus.Signal, error) {
	select {
	case signal, ok := <-s.ch:
		if !ok {
			return nil, errDisconnected
		}
		return signal, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for signal: %w", context.Cause(ctx))
	}
}

func (s *signals) drain() {
	for {
		select {
		case signal, ok := <-s.ch:
			if !ok { // the next receive reports it
				return
			}
			if signal.Name == managerInterface+".UnitRemoved" {
				delete(s.passing, unitOf(signal))
			}
		default:
			return
		}
	}
}

// passes reports whether a signal announces only that a unit was loaded for a moment.
// Reading the properties of a unit that nothing refers to makes systemd load it, unload it
// at once, and announce both. A wait that read it again for that would never rest.
//
// RefUnit, which would keep the unit loaded, needs a client with a name on a bus; a client
// of the private socket has none.
func (s *signals) passes(ctx context.Context, signal *godbus.Signal) (bool, error) {
	name := unitOf(signal)
	switch signal.Name {
	case managerInterface + ".UnitNew":
		loaded, err := s.conn.loaded(ctx, name)
		if err != nil || loaded {
			delete(s.passing, name) // its removal is one that matters
			return false, err
		}
		s.passing[name] = true
		return true, nil
	case managerInterface + ".UnitRemoved":
		passing := s.passing[name]
		delete(s.passing, name)
		return passing, nil
	}
	return false, nil
}

// loaded reports whether systemd has a unit loaded. It does not make systemd load it.
func (c *connection) loaded(ctx context.Context, name string) (bool, error) {
	var path godbus.ObjectPath
	err := c.call(ctx, "GetUnit", []any{name}, &path)
	if e, ok := errors.AsType[godbus.Error](err); ok && e.Name == managerName+".NoSuchUnit" {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", name, err)
	}
	return true, nil
}

// unitOf returns the name of the unit that a signal of the manager is about, or "".
func unitOf(s *godbus.Signal) string {
	place := map[string]int{
		managerInterface + ".UnitNew":     0,
		managerInterface + ".UnitRemoved": 0,
		managerInterface + ".JobNew":      2,
		managerInterface + ".JobRemoved":  2,
	}
	i, ok := place[s.Name]
	if !ok || i >= len(s.Body) {
		return ""
	}
	name, _ := s.Body[i].(string)
	return name
}

// changeOf returns the interface and the properties that a signal announces as changed.
func changeOf(s *godbus.Signal) (of string, changed map[string]godbus.Variant) {
	if s.Name != "org.freedesktop.DBus.Properties.PropertiesChanged" || len(s.Body) < 2 {
		return "", nil
	}
	of, _ = s.Body[0].(string)
	changed, _ = s.Body[1].(map[string]godbus.Variant)
	return of, changed
}
