package systemd

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

// Change is something that systemd announced about a unit.
type Change struct {
	At    time.Time // by the guest's clock
	Heard bool      // instead by this host's, when it heard of that: systemd does not say when a job came
	Unit  string
	What  string // such as "failed (failed), result exit-code"
}

const (
	// maxChanges is how many changes are kept, the last ones.
	maxChanges = 2000
	// maxUnits is how many states and results of units are kept, and maxWord how long a text of
	// the guest may be.
	maxUnits = 10_000
	maxWord  = 255
)

// changes keeps what systemd announces. The signals arrive in any case, so the guest does
// nothing for it.
type changes struct {
	mu      sync.Mutex
	list    []Change
	last    map[string]string // by unit, its state
	results map[string]string // by unit
}

// Changes returns what systemd announced of its units, in the order of its arrival.
func (m *Manager) Changes() []Change {
	m.changes.mu.Lock()
	defer m.changes.mu.Unlock()
	return slices.Clone(m.changes.list)
}

// see notes a signal.
func (c *changes) see(s *godbus.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of, changed := changeOf(s); changed != nil {
		if unit := unitAt(s.Path); unit != "" {
			c.property(unit, of, changed)
		}
		return
	}
	unit := unitOf(s)
	if unit == "" || len(unit) > maxWord {
		return
	}
	job, ok := s.Body[0].(uint32)
	if !ok {
		return
	}
	switch s.Name {
	case managerInterface + ".JobNew":
		c.add(Change{time.Now(), true, unit, fmt.Sprintf("job %d was queued", job)})
	case managerInterface + ".JobRemoved":
		if len(s.Body) != 4 {
			return
		}
		if result, ok := s.Body[3].(string); ok && len(result) <= maxWord {
			c.add(Change{time.Now(), true, unit, fmt.Sprintf("job %d ended: %s", job, result)})
		}
	}
}

// property notes properties that have changed. systemd announces those of the unit's type, its
// Result among them, before those that all units have.
func (c *changes) property(unit, of string, changed map[string]godbus.Variant) {
	if len(c.last)+len(c.results) >= maxUnits || c.last == nil {
		c.last, c.results = make(map[string]string), make(map[string]string)
	}
	if result := word(changed, "Result"); result != "" && of != unitInterface {
		c.results[unit] = result
	}
	active, sub := word(changed, "ActiveState"), word(changed, "SubState")
	if of != unitInterface || active == "" || sub == "" {
		return
	}
	state := fmt.Sprintf("%s (%s)", active, sub)
	if result := c.results[unit]; result != "" && result != "success" {
		state += ", result " + result
	}
	if c.last[unit] == state {
		return
	}
	c.last[unit] = state
	micros, _ := changed["StateChangeTimestamp"].Value().(uint64)
	if micros == 0 { // the unit was loaded, and has not changed since
		return
	}
	c.add(Change{At: time.UnixMicro(int64(micros)), Unit: unit, What: state})
}

func (c *changes) add(change Change) {
	if len(c.list) == maxChanges {
		c.list = slices.Delete(c.list, 0, maxChanges/10)
	}
	c.list = append(c.list, change)
}

// word returns a property that is a short text, or "".
func word(properties map[string]godbus.Variant, name string) string {
	text, _ := properties[name].Value().(string)
	if len(text) > maxWord {
		return ""
	}
	return text
}

// unitAt returns the unit that has an object path, or "".
func unitAt(p godbus.ObjectPath) string {
	name, ok := strings.CutPrefix(string(p), unitPath)
	if !ok || len(name) > 3*maxWord { // each byte escaped
		return ""
	}
	var b strings.Builder
	for {
		before, after, escaped := strings.Cut(name, "_")
		b.WriteString(before)
		if !escaped {
			return b.String()
		}
		if len(after) < 2 {
			return ""
		}
		char, err := hex.DecodeString(after[:2])
		if err != nil {
			return ""
		}
		b.Write(char)
		name = after[2:]
	}
}

// watched is a handler of signals that shows them to see first.
type watched struct {
	signalHandler
	see func(*godbus.Signal)
}

// signalHandler is what godbus calls of a handler.
type signalHandler interface {
	godbus.SignalHandler
	godbus.SignalRegistrar
	godbus.Terminator
}

// DeliverSignal implements godbus.SignalHandler.
func (w watched) DeliverSignal(of, name string, s *godbus.Signal) {
	w.see(s)
	w.signalHandler.DeliverSignal(of, name, s)
}
