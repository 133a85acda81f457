package vmtest

import (
	"cmp"
	"fmt"

	"example.org/systemd-vmtest/vmtest/internal/evidence"
	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// momentsOf returns what the test did, what the guest logged, and how its units changed, in the
// order of their times. All are by the guest's clock; see byGuest.
func momentsOf(steps []evidence.Step, entries []journal.Entry, units []unitChange) []evidence.Moment {
	var moments []evidence.Moment
	for _, s := range steps {
		moments = append(moments, evidence.Moment{At: s.Began, Of: "test", Text: s.Line()})
	}
	for _, c := range units {
		moments = append(moments, evidence.Moment{At: c.At, Of: "unit", Text: fmt.Sprintf("%s: %s", c.unit, c.What), Unit: c.Unit})
	}
	const err = 3 // of syslog(3)
	for _, e := range entries {
		moments = append(moments, evidence.Moment{
			At: e.Time, Of: "guest", Text: untimed(e),
			Unit: cmp.Or(e.About, e.Unit), Bad: e.Priority != journal.NoPriority && e.Priority <= err,
		})
	}
	evidence.Sort(moments)
	return moments
}

// unitChange is a change of a unit of the system or of a user.
type unitChange struct {
	unit journal.UnitID
	systemd.Change
}

// changes returns the changes of the units that are under test or have failed.
func (m *Machine) changes(entries []journal.Entry) []unitChange {
	failed := make(map[journal.UnitID]bool)
	for _, f := range journal.Failures(entries) {
		failed[f.Unit] = true
	}
	m.announced.mu.Lock()
	defer m.announced.mu.Unlock()
	var all []unitChange
	add := func(uid string, changes []systemd.Change) {
		for _, c := range changes {
			unit := journal.UnitID{Name: c.Unit, UID: uid}
			if failed[unit] || m.announced.isTested(uid, c.Unit) {
				if c.Heard {
					c.At = m.vm.GuestTime(c.At)
				}
				all = append(all, unitChange{unit, c})
			}
		}
	}
	add("", m.vm.Systemd.Changes())
	for _, uid := range m.vm.Users() {
		add(fmt.Sprint(uid), m.vm.UserUnits(uid).Systemd.Changes())
	}
	return all
}
