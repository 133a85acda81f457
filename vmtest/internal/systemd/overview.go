package systemd

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Overview is what systemd shows of its units at one moment, as evidence.
type Overview struct {
	Failed  []ListedUnit
	Jobs    []Job    // all there are, without what they wait for
	Sockets []Socket // those that came with the test
	Looks   map[string]Look
}

// ListedUnit is a unit as systemctl list-units shows it.
type ListedUnit struct {
	Name, LoadState, ActiveState, SubState, Description string
}

// Look is the state of a unit that may be started again and again.
type Look struct {
	ActiveState, SubState string
	Restarts              uint32 // by Restart=, systemd.service(5)
	Type                  string // of a service, or ""
}

// Socket is the state of a socket unit.
type Socket struct {
	Name, ActiveState, SubState, Result string

	Listen []string // addresses with their types, such as "/run/a (Stream)"
	// Accept says that each connection has a service of its own. systemd counts
	// connections only then.
	Accept              bool
	Accepted, Connected uint32
}

// Overview reads the overview, with the looks at the given units and at those whose jobs run.
// It also returns what it has read before an error.
func (m *Manager) Overview(ctx context.Context, units []string) (o Overview, err error) {
	err = m.follow(ctx, func(c *connection, _ *signals) (err error) {
		o = Overview{Looks: make(map[string]Look)}
		if o.Failed, err = c.failed(ctx); err != nil {
			return err
		}
		if o.Jobs, err = c.allJobs(ctx); err != nil {
			return err
		}
		if o.Sockets, err = c.sockets(ctx); err != nil {
			return err
		}
		for _, j := range o.Jobs {
			if j.State == "running" {
				units = append(slices.Clone(units), j.Unit)
			}
		}
		for _, name := range units {
			p, err := c.allProperties(ctx, name)
			if err != nil {
				return err
			}
			restarts, _ := p["NRestarts"].(uint32)
			o.Looks[name] = Look{p.text("ActiveState"), p.text("SubState"), restarts, p.text("Type")}
		}
		return nil
	})
	return o, err
}

// failed returns the units that have failed.
func (c *connection) failed(ctx context.Context) ([]ListedUnit, error) {
	units, err := c.list(ctx, []string{"failed"}, "*")
	if err != nil {
		return nil, fmt.Errorf("list failed units: %w", err)
	}
	return listed(units), nil
}

// allJobs returns all jobs, without what they wait for.
func (c *connection) allJobs(ctx context.Context) ([]Job, error) {
	queue, err := c.listJobs(ctx)
	if err != nil {
		return nil, err
	}
	var all []Job
	for _, j := range queue {
		all = append(all, jobOf(j))
	}
	return all, nil
}

// sockets returns the sockets that came with the test.
func (c *connection) sockets(ctx context.Context) ([]Socket, error) {
	units, err := c.list(ctx, nil, "*.socket")
	if err != nil {
		return nil, fmt.Errorf("list sockets: %w", err)
	}
	var all []Socket
	for _, u := range units {
		if u.LoadState == "masked" {
			continue
		}
		file, err := c.get(ctx, u.Name, unitInterface, "FragmentPath")
		if err != nil {
			return nil, err
		}
		if path, _ := file.Value().(string); !ofTest(path) {
			continue
		}
		p, err := c.allProperties(ctx, u.Name)
		if err != nil {
			return nil, err
		}
		all = append(all, p.socket())
	}
	return all, nil
}

// ofTest reports whether a unit's file is where tests put theirs, which may be in a home
// directory. The distribution's own are elsewhere.
func ofTest(file string) bool {
	return file != "" && !strings.HasPrefix(file, "/usr/") && !strings.HasPrefix(file, "/lib/")
}

func (p properties) socket() Socket {
	s := Socket{Name: p.text("Id"), ActiveState: p.text("ActiveState"), SubState: p.text("SubState"), Result: p.text("Result")}
	addresses, _ := p["Listen"].([][]any)
	for _, a := range addresses {
		if len(a) == 2 {
			s.Listen = append(s.Listen, fmt.Sprintf("%v (%v)", a[1], a[0]))
		}
	}
	s.Accept, _ = p["Accept"].(bool)
	s.Accepted, _ = p["NAccepted"].(uint32)
	s.Connected, _ = p["NConnections"].(uint32)
	return s
}
