package systemd

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// unitStates has, by type of unit, the values of ActiveState and of SubState that any
// version of systemd from 247 to 262 gives a unit of that type (its unit-def.c, and the
// state_translation_table of each type; "systemctl --state=help" prints the latter).
var unitStates = map[string]struct{ active, sub []string }{
	"automount": {
		active: words("active failed inactive"),
		sub:    words("dead failed running waiting"),
	},
	"device": {
		active: words("activating active inactive"),
		sub:    words("dead plugged tentative"),
	},
	"mount": {
		active: words("activating active deactivating failed inactive maintenance reloading"),
		sub: words("cleaning dead failed mounted mounting mounting-done remounting remounting-sigkill " +
			"remounting-sigterm unmounting unmounting-sigkill unmounting-sigterm"),
	},
	"path": {
		active: words("active failed inactive"),
		sub:    words("dead failed running waiting"),
	},
	"scope": {
		active: words("activating active deactivating failed inactive"),
		sub:    words("abandoned dead failed running start-chown stop-sigkill stop-sigterm"),
	},
	"service": {
		active: words("activating active deactivating failed inactive maintenance refreshing reloading"),
		sub: words("auto-restart auto-restart-queued cleaning condition dead dead-before-auto-restart " +
			"dead-resources-pinned exited failed failed-before-auto-restart final-sigkill final-sigterm " +
			"final-watchdog mounting refresh-credentials refresh-extensions reload reload-notify reload-post " +
			"reload-signal running running-revalidating start start-post start-pre stop stop-post stop-sigkill " +
			"stop-sigterm stop-watchdog"),
	},
	"slice": {
		active: words("active inactive"),
		sub:    words("active dead"),
	},
	"socket": {
		active: words("activating active deactivating failed inactive maintenance"),
		sub: words("cleaning dead deferred failed final-sigkill final-sigterm listening running start-chown " +
			"start-open start-post start-pre stop-post stop-pre stop-pre-sigkill stop-pre-sigterm"),
	},
	"swap": {
		active: words("activating active deactivating failed inactive maintenance"),
		sub: words("activating activating-done active cleaning dead deactivating deactivating-sigkill " +
			"deactivating-sigterm failed"),
	},
	"target": {
		active: words("active inactive"),
		sub:    words("active dead"),
	},
	"timer": {
		active: words("active failed inactive"),
		sub:    words("dead elapsed failed running waiting"),
	},
}

func words(s string) []string { return strings.Fields(s) }

// unitType returns the type of a unit, such as "service", or "".
func unitType(unit string) string { return strings.TrimPrefix(path.Ext(unit), ".") }

// StateError reports that no unit of a type has a state, so that it makes no sense to wait
// for it.
type StateError struct {
	Unit, State string
}

func (e *StateError) Error() string {
	states, ok := unitStates[unitType(e.Unit)]
	if !ok {
		return fmt.Sprintf("%q is not the name of a unit: it has no type, such as .service", e.Unit)
	}
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(states.active, states.sub))))
	text := fmt.Sprintf("no %s has the state %q", unitType(e.Unit), e.State)
	if near := nearStates(all, e.State); near != nil {
		return text + "; nearest: " + strings.Join(near, ", ")
	}
	return text + "; its states: " + strings.Join(all, ", ")
}

// nearStates returns the states that begin with state, or differ from it by a letter.
func nearStates(states []string, state string) []string {
	state = strings.ToLower(state)
	var near []string
	for _, s := range states {
		if len(state) > 2 && strings.HasPrefix(s, state) || oneSlip(s, state) {
			near = append(near, s)
		}
	}
	return near
}

// oneSlip reports whether one letter that is wrong, missing or too many, or two that are
// swapped, make a out of b.
func oneSlip(a, b string) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) <= 1 && len(b) <= 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}

// checkState returns a *StateError if no unit of the type can have the state.
func checkState(unit, state string) error {
	states := unitStates[unitType(unit)]
	if slices.Contains(states.active, state) || slices.Contains(states.sub, state) {
		return nil
	}
	return &StateError{unit, state}
}

// beforeExited has the states that come before "exited", and that a service leaves for
// good when it gets there.
var beforeExited = words("activating auto-restart auto-restart-queued condition mounting refresh-credentials " +
	"refresh-extensions refreshing reload reload-notify reload-post reload-signal reloading running start start-post start-pre")

// isKernelType reports whether a unit changes with what the kernel reports, without a job:
// any process may call mount(2), and a device comes when it comes.
func isKernelType(unit string) bool {
	switch unitType(unit) {
	case "device", "mount", "swap":
		return true
	}
	return false
}
