package systemd

import (
	"context"
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
	units, err := c.typed.ListUnitsByPatternsContext(ctx, nil, []string{prefix + "@*" + suffix})
	if err != nil {
		return nil, fmt.Errorf("list instances of %s: %w", template, c.ended(err))
	}
	units = slices.DeleteFunc(units, func(u dbus.UnitStatus) bool { return u.ActiveState == "inactive" && u.JobId == 0 })
	slices.SortFunc(units, func(a, b dbus.UnitStatus) int { return strings.Compare(a.Name, b.Name) })
	return units, nil
}
