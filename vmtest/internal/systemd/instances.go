package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
)

// Instances returns the instances of a template that run, have failed or have a job, in
// the order of their names: those that systemctl list-units shows.
func (m *Manager) Instances(ctx context.Context, template string) (names []string, err error) {
	if err := checkTemplate(template); err != nil {
		return nil, err
	}
	err = m.follow(ctx, func(c *connection, _ *signals) error {
		units, err := c.instances(ctx, template)
		names = nil
		for _, u := range units {
			names = append(names, u.Name)
		}
		return err
	})
	return names, err
}

func checkTemplate(name string) error {
	if err := CheckUnitName(name); err != nil {
		return err
	}
	if !IsTemplate(name) {
		return fmt.Errorf("%s is not the name of a template, such as demo@.service", name)
	}
	return nil
}

// instances returns the instances of a template that run, have failed or have a job.
func (c *connection) instances(ctx context.Context, template string) ([]dbus.UnitStatus, error) {
	prefix, suffix, _ := strings.Cut(template, "@")
	units, err := c.list(ctx, nil, prefix+"@*"+suffix)
	if err != nil {
		return nil, fmt.Errorf("list instances of %s: %w", template, err)
	}
	units = slices.DeleteFunc(units, func(u dbus.UnitStatus) bool { return u.ActiveState == "inactive" && u.JobId == 0 })
	slices.SortFunc(units, func(a, b dbus.UnitStatus) int { return strings.Compare(a.Name, b.Name) })
	return units, nil
}

// WaitInstances waits until n instances of a template run, have failed or have a job. It
// fails with an ErrStateUnreachable if there are too few and the socket that starts them is
// down, or more that have failed, because these stay. It returns the instances that it saw
// last.
func (m *Manager) WaitInstances(ctx context.Context, template string, n int) (saw []ListedUnit, err error) {
	if err := checkTemplate(template); err != nil {
		return nil, err
	}
	w := &lookWait{unit: template}
	w.look = func(ctx context.Context, c *connection) (bool, error) {
		for {
			units, err := c.instances(ctx, template)
			if err != nil {
				return false, err
			}
			saw = listed(units)
			if len(saw) == n {
				return true, nil
			}
			w.starters = nil
			stays := w.remain(ctx, c, saw, n)
			if !errors.Is(stays, ErrStateUnreachable) {
				return false, stays
			}
			// The socket may have started one before it ended.
			if units, err = c.instances(ctx, template); err != nil {
				return false, err
			}
			if len(units) == len(saw) {
				return true, stays
			}
		}
	}
	err = m.lookAgain(ctx, w)
	return saw, err
}

// remain returns why there will not be n instances.
func (w *lookWait) remain(ctx context.Context, c *connection, instances []ListedUnit, n int) error {
	failed := 0
	for _, u := range instances {
		if u.ActiveState != "failed" {
			continue
		}
		p, err := c.unit(ctx, u.Name)
		if err != nil {
			return err
		}
		if p.missing() == nil && p.text("CollectMode") != "inactive-or-failed" { // else it goes
			failed++
		}
	}
	if failed > n {
		return unreachable(fmt.Sprintf("%d have failed, and stay until they are reset", failed))
	}
	prefix, _, _ := strings.Cut(w.unit, "@")
	socket := prefix + ".socket"
	if len(instances) > n || !strings.HasSuffix(w.unit, ".service") {
		return nil
	}
	p, err := c.unit(ctx, socket)
	if err != nil || p.missing() != nil || !p.down() || p.job() != 0 {
		return err
	}
	if w.starters, err = c.starters(ctx, p); err != nil || len(w.starters) > 0 {
		return err
	}
	return unreachable(fmt.Sprintf("nothing will start more: %s is %s", socket, p.text("ActiveState")))
}

func listed(units []dbus.UnitStatus) []ListedUnit {
	var all []ListedUnit
	for _, u := range units {
		all = append(all, ListedUnit{u.Name, u.LoadState, u.ActiveState, u.SubState, u.Description})
	}
	return all
}
