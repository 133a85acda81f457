package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"example.org/systemd-vmtest/internal/tail"
)

// UnitState is what a wait saw last of a unit.
type UnitState struct {
	ActiveState string
	SubState    string
	Result      string // why it failed, such as "exit-code", or ""
}

// errFailed ends a wait for a unit that failed.
var errFailed = errors.New("the unit failed")

// WaitUnit waits until a unit's ActiveState or SubState is want. It looks again after each
// signal of systemd that may be about the unit, and fails at once if the unit fails. It
// returns what it saw last, also with an error.
func (m *Manager) WaitUnit(ctx context.Context, unit, want string) (saw UnitState, err error) {
	conn, raw, err := m.conn(ctx)
	if err != nil {
		return saw, err
	}
	signals := watchSignals(raw)
	defer signals.close()
	loaded := false
	for {
		props, err := conn.GetUnitPropertiesContext(ctx, unit)
		if err != nil {
			return saw, fmt.Errorf("read properties: %w", err)
		}
		saw.ActiveState, _ = props["ActiveState"].(string)
		saw.SubState, _ = props["SubState"].(string)
		loaded = loaded || props["LoadState"] != "not-found"
		switch {
		case !loaded && saw.ActiveState == "inactive": // a unit may be unloaded while it runs
			return saw, errors.New("there is no such unit")
		case want == saw.ActiveState || want == saw.SubState:
			return saw, nil
		case saw.ActiveState == "failed":
			// At once, and only if the unit is still failed: a unit that was started again
			// has the result of its new run.
			if all, err := conn.GetAllPropertiesContext(ctx, unit); err == nil && all["ActiveState"] == "failed" {
				saw.Result, _ = all["Result"].(string)
			}
			return saw, errFailed
		}
		id, _ := props["Id"].(string)
		if err := signals.next(ctx, concerns(id)); err != nil {
			return saw, err
		}
	}
}

// concerns returns a match for the signals after which a unit may have changed: of its
// properties, or of the list of units and jobs. unit is its Id, because systemd sends
// nothing under an alias.
func concerns(unit string) func(*godbus.Signal) bool {
	path := unitPath + godbus.ObjectPath(dbus.PathBusEscape(unit))
	return func(s *godbus.Signal) bool {
		return s.Path == path || strings.HasPrefix(s.Name, managerInterface+".")
	}
}

// Watch calls look at first and after each signal of systemd, until look reports that it
// is done. look returns what it saw, for the error if ctx ends first.
func (m *Manager) Watch(ctx context.Context, look func(context.Context, *dbus.Conn) (saw string, done bool, err error)) error {
	conn, raw, err := m.conn(ctx)
	if err != nil {
		return err
	}
	signals := watchSignals(raw)
	defer signals.close()
	for {
		saw, done, err := look(ctx, conn)
		if err != nil || done {
			return err
		}
		if err := signals.next(ctx, func(*godbus.Signal) bool { return true }); err != nil {
			return fmt.Errorf("%w; it is %s", err, tail.Printable(saw))
		}
	}
}
