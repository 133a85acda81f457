package systemd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

// lookWait is a wait that looks at something of a unit again after each signal about it.
type lookWait struct {
	unit string // its ID, once that is known
	// look reports whether the wait is over: what is waited for is there, or err says why
	// it does not come.
	look func(ctx context.Context, c *connection) (done bool, err error)
	// silent says that systemd announces no change of what look looks at.
	silent bool

	// announced, if not nil, reports whether changes that a signal announces are what is
	// waited for, so that no further look is needed.
	announced func(changed map[string]godbus.Variant) bool
	at        godbus.Sequence // of the last look, among the signals
	// general says that look looks only at what all units have. systemd announces a change
	// of what the unit's type has before that.
	general bool

	seen     bool // the unit was there at some time
	over     bool // as a signal announced
	starters []starter
}

// exists reports whether the unit is there, or was at an earlier look. One without a file
// is unloaded when it ends.
func (w *lookWait) exists(p properties) bool {
	w.unit, w.seen = p.text("Id"), w.seen || p.missing() == nil
	return w.seen
}

// silentPause is the time between two looks at what systemd does not announce.
const silentPause = 200 * time.Millisecond

func (m *Manager) lookAgain(ctx context.Context, w *lookWait) error {
	err := m.follow(ctx, func(c *connection, s *signals) error {
		for {
			done, err := w.look(ctx, c)
			if done || err != nil {
				return err
			}
			if err := w.pause(ctx, s); err != nil || w.over {
				return err
			}
		}
	})
	if err != nil && ctx.Err() != nil && len(w.starters) > 0 {
		err = fmt.Errorf("%w; it has no job, and may still be started by %s", err, joined(w.starters))
	}
	return err
}

// pause waits for the next signal that is a reason to look again.
func (w *lookWait) pause(ctx context.Context, s *signals) error {
	if !w.silent {
		return s.next(ctx, w.concerns)
	}
	tick, cancel := context.WithTimeout(ctx, silentPause)
	defer cancel()
	err := s.next(tick, w.concerns)
	if err != nil && ctx.Err() == nil && tick.Err() != nil && !errors.Is(err, errDisconnected) {
		return nil
	}
	return err
}

// concerns reports whether a signal is about the unit, an instance of it, what may start it,
// or unit files.
func (w *lookWait) concerns(s *godbus.Signal) bool {
	of, changed := changeOf(s)
	if w.general && of != "" && of != unitInterface {
		return false
	}
	if w.announced != nil && s.Path == objectPath(w.unit) && s.Sequence > w.at && w.announced(changed) {
		w.over = true
		return true
	}
	if active, _ := changed["ActiveState"].Value().(string); w.general && s.Path == objectPath(w.unit) && s.Sequence > w.at && moving(active) {
		return false // another signal comes
	}
	switch s.Name {
	case managerInterface + ".Reloading":
		return len(s.Body) == 1 && s.Body[0] == false // unit files were read again
	case managerInterface + ".UnitFilesChanged":
		return true
	}
	names := []string{w.unit}
	for _, starter := range w.starters {
		names = append(names, starter.name)
	}
	prefix := instancePrefix(w.unit)
	if about := unitOf(s); about != "" {
		return slices.Contains(names, about) || prefix != "" && strings.HasPrefix(about, prefix)
	}
	if prefix != "" && strings.HasPrefix(string(s.Path), string(objectPath(prefix))) {
		return true
	}
	return slices.ContainsFunc(names, func(name string) bool { return s.Path == objectPath(name) })
}

// instancePrefix returns how the names begin of the services that a socket starts for its
// connections, or of a template's instances. systemd counts connections by these.
func instancePrefix(unit string) string {
	if name, ok := strings.CutSuffix(unit, ".socket"); ok && !strings.Contains(name, "@") {
		return name + "@"
	}
	if IsTemplate(unit) {
		return unit[:strings.Index(unit, "@")+1]
	}
	return ""
}

// moving reports whether a unit is on its way to another state, which systemd announces.
func moving(activeState string) bool {
	return slices.Contains([]string{"activating", "deactivating", "reloading", "refreshing"}, activeState)
}

// stays returns why a unit with the properties p does not change by itself any more, or nil
// if it may: it is down, has no job, nothing that is active may start it, and no connection
// of it is open.
func (w *lookWait) stays(ctx context.Context, c *connection, p properties) error {
	w.starters = nil
	if isKernelType(w.unit) || !p.down() || p.job() != 0 {
		return nil
	}
	var err error
	if w.starters, err = c.starters(ctx, p); err != nil || len(w.starters) > 0 {
		return err
	}
	if unitType(w.unit) == "socket" {
		open, err := c.get(ctx, w.unit, typeInterface(w.unit), "NConnections")
		if n, _ := open.Value().(uint32); err != nil || n > 0 {
			return err
		}
	}
	switch {
	case !w.exists(p):
		return neverComes{}
	case p["ActiveState"] == "failed":
		return unreachable("the unit failed, and nothing will start it")
	}
	return (&unitWait{saw: p.state()}).settled()
}

// neverComes is why a wait for a unit that does not exist is over.
type neverComes struct{}

func (neverComes) Error() string { return ErrNoUnit.Error() }

// Is reports whether target is ErrStateUnreachable or ErrNoUnit.
func (neverComes) Is(target error) bool { return target == ErrStateUnreachable || target == ErrNoUnit }

// silent matches the properties whose changes systemd does not announce, and that change
// without another signal about the unit. They are those that "busctl introspect" shows
// without a flag in versions 247 to 262, but for NAccepted and NConnections: there is a
// signal of the socket after each connection, and one of the instance after its end.
var silent = regexp.MustCompile(`^(CPUUsage|Memory|Tasks|IO(Read|Write)|IP(In|E)gress|Managed|OOMKills|NRefused$|` +
	`NFileDescriptorStore$|Watchdog|TimeoutAbort|[A-Za-z]+QuotaUsage$|RestartUSecNext$)`)
