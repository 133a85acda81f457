package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	godbus "github.com/godbus/dbus/v5"
)

// errFailed ends a wait for a unit that failed.
var errFailed = errors.New("the unit failed")

// ErrStateUnreachable is in the errors of waits for a state that a unit cannot reach by
// itself.
var ErrStateUnreachable = errors.New("the unit cannot reach the state by itself")

// unreachable is an [ErrStateUnreachable] that says why.
type unreachable string

func (e unreachable) Error() string { return string(e) }

// Is reports whether target is ErrStateUnreachable.
func (unreachable) Is(target error) bool { return target == ErrStateUnreachable }

// WaitUnit waits until a unit's ActiveState or SubState is want. It looks again after each
// signal of systemd that is about the unit or about what may start it. It fails at once if
// the unit fails, if units of its type have no such state, and if the unit cannot get there
// by itself any more: it is down, has no job, and nothing that is active may start it. The
// error of the third case is an ErrStateUnreachable. WaitUnit returns what it saw last, also
// with an error.
func (m *Manager) WaitUnit(ctx context.Context, unit, want string) (UnitState, error) {
	if err := checkState(unit, want); err != nil {
		return UnitState{}, err
	}
	if err := CheckUnitName(unit); err != nil {
		return UnitState{}, err
	}
	w := &unitWait{unit: unit, want: want}
	err := m.follow(ctx, func(c *connection, s *signals) error { return w.run(ctx, c, s) })
	if err != nil && ctx.Err() != nil && len(w.starters) > 0 {
		err = fmt.Errorf("%w; it has no job, and may still be started by %s", err, joined(w.starters))
	}
	return w.saw, err
}

// unitWait is a wait for a unit.
type unitWait struct {
	unit, want string

	saw      UnitState
	at       godbus.Sequence // of saw, among the signals
	loaded   bool            // the unit was there at some time
	starters []starter
	asked    bool // for certain
	certain  bool // an end that systemd announces is one
}

func (w *unitWait) run(ctx context.Context, c *connection, s *signals) error {
	for {
		done, err := w.look(ctx, c)
		if done && err != nil {
			c.addEnd(ctx, w.unit, &w.saw)
		}
		if done || err != nil {
			return err
		}
		if !w.asked && (ends(w.want) || w.want == "dead") { // before the event, because it takes a call
			if w.certain, err = c.announcesRestarts(ctx); err != nil {
				return err
			}
			w.asked = true
		}
		if err := s.next(ctx, w.concerns); err != nil {
			return err
		}
		if w.reached() && (w.certain || !ends(w.saw.ActiveState)) { // as the signal said
			return nil
		}
	}
}

// look reads the unit once, and reports whether the wait is over: the unit has reached the
// state, or err says why it does not.
func (w *unitWait) look(ctx context.Context, c *connection) (done bool, err error) {
	p, at, err := c.unitAt(ctx, w.unit)
	if err != nil {
		return false, err
	}
	w.at = at
	w.note(p)
	switch {
	case w.reached():
		return true, nil
	case p.job() != 0, restarts(w.saw.SubState):
		return false, nil
	case w.saw.ActiveState == "failed":
		return true, errFailed
	case !w.stuck():
		return false, nil
	case w.saw.ActiveState != "inactive":
		return true, unreachable("nothing will change it: it has no job")
	case w.missing():
		return true, neverComes{}
	}
	if w.starters, err = c.starters(ctx, p); err != nil || len(w.starters) > 0 {
		return false, err
	}
	// A unit that has just ended may have been what started this one. Look again at
	// this one after them all.
	if p, err = c.unit(ctx, w.unit); err != nil {
		return false, err
	}
	before := w.saw
	if w.note(p); w.saw != before || p.job() != 0 {
		return w.look(ctx, c)
	}
	return true, w.settled()
}

func (w *unitWait) note(p properties) {
	w.saw = p.state()
	w.loaded = w.loaded || w.saw.LoadState != "not-found"
	w.starters = nil
}

func (w *unitWait) reached() bool {
	return !w.missing() && (w.want == w.saw.ActiveState && !restarts(w.saw.SubState) || w.want == w.saw.SubState)
}

// restarts reports whether a service is on its way from "failed" or "inactive" to a restart
// by Restart=. Since systemd 254 that is a state of its own.
func restarts(subState string) bool { return strings.HasSuffix(subState, "-before-auto-restart") }

// announcesRestarts reports whether a service that is announced to have ended is not restarted
// at once. Before systemd 254 it may be, so it is looked at again.
func (c *connection) announcesRestarts(ctx context.Context) (bool, error) {
	version, err := c.version(ctx)
	return majorOf(version) >= 254, err
}

// ends reports whether a unit has ended.
func ends(activeState string) bool { return activeState == "failed" || activeState == "inactive" }

// missing reports whether there has been no such unit at any look. A unit without a file
// is unloaded when it ends, and a mount may come without a unit file.
func (w *unitWait) missing() bool {
	return !w.loaded && w.saw.ActiveState == "inactive" && !isKernelType(w.unit)
}

// stuck reports whether a unit without a job cannot reach the state by itself. It is
// certain of that for a unit that is down, and for a service that has "exited" and is to
// go back. Any other unit may end, or change on account of its processes, at any time.
func (w *unitWait) stuck() bool {
	switch {
	case isKernelType(w.unit):
		return false
	case w.saw.ActiveState == "inactive":
		return true
	}
	return unitType(w.unit) == "service" && w.saw.SubState == "exited" && slices.Contains(beforeExited, w.want)
}

// settled returns why the unit stays down.
func (w *unitWait) settled() error {
	text := "nothing will start it: it has no job, and nothing that is active triggers it"
	switch {
	case w.saw.LoadState == "not-found":
		text = "it is gone: there is no unit file, and nothing will start it"
	case w.saw.LoadState != "loaded" && w.saw.LoadError != "":
		text = fmt.Sprintf("it cannot be started: it is %s: %s", w.saw.LoadState, w.saw.LoadError)
	case w.saw.LoadState != "loaded":
		text = "it cannot be started: it is " + w.saw.LoadState
	}
	return unreachable(text)
}

// concerns reports whether the unit, or what may start it, can have changed with a signal.
// It notes the states that a signal announces, so that no further look is needed if the
// unit has reached the one that is waited for.
func (w *unitWait) concerns(s *godbus.Signal) bool {
	of, changed := changeOf(s)
	if of != "" && of != unitInterface {
		return false // states are announced for all units by the same interface
	}
	if p := plainValues(changed); s.Path == objectPath(w.saw.ID) && s.Sequence > w.at && p.text("ActiveState") != "" && p.text("SubState") != "" {
		w.saw.ActiveState, w.saw.SubState, w.loaded = p.text("ActiveState"), p.text("SubState"), true
		return w.reached() || !moving(w.saw.ActiveState)
	}
	if s.Name == managerInterface+".Reloading" {
		return len(s.Body) == 1 && s.Body[0] == false // unit files were read again
	}
	names := []string{w.saw.ID} // systemd sends nothing under an alias
	for _, starter := range w.starters {
		names = append(names, starter.name)
	}
	if about := unitOf(s); about != "" {
		return slices.Contains(names, about)
	}
	return slices.ContainsFunc(names, func(name string) bool { return s.Path == objectPath(name) })
}

func joined(starters []starter) string {
	texts := make([]string, len(starters))
	for i, s := range starters {
		texts[i] = s.String()
	}
	return strings.Join(texts, ", ")
}
