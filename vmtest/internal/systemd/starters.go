package systemd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	godbus "github.com/godbus/dbus/v5"
)

// starter is a unit that may start another one by itself: a socket, timer, path or
// automount that triggers it, a unit that upholds it or starts it when it ends, or a device
// or mount that wants it and may come.
type starter struct {
	name, sub string
}

func (s starter) String() string { return fmt.Sprintf("%s (%s)", s.name, s.sub) }

// starters returns the units that may still start the unit with the properties p.
func (c *connection) starters(ctx context.Context, p properties) ([]starter, error) {
	return c.starting(ctx, p, map[string]bool{p.text("Id"): true})
}

// starting is starters without the units in seen.
func (c *connection) starting(ctx context.Context, p properties, seen map[string]bool) ([]starter, error) {
	names, err := c.possible(ctx, p)
	if err != nil {
		return nil, err
	}
	var live []starter
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		other, err := c.unit(ctx, name)
		if err != nil {
			return nil, err
		}
		s := starter{name, other.text("SubState")}
		if isKernelType(name) { // it starts the units in its Wants= when it appears
			if other.down() {
				live = append(live, s)
			}
			continue
		}
		if strings.HasSuffix(name, ".timer") && s.sub == "elapsed" && other.job() == 0 {
			continue // it is active, and will not elapse again
		}
		if !other.down() || other.job() != 0 {
			live = append(live, s)
			continue
		}
		more, err := c.starting(ctx, other, seen)
		if err != nil {
			return nil, err
		}
		live = append(live, more...)
	}
	return live, nil
}

// possible returns the units that start the unit with the properties p when their own
// time has come.
func (c *connection) possible(ctx context.Context, p properties) ([]string, error) {
	names := slices.Concat(p.list("TriggeredBy"), p.list("UpheldBy"), p.list("OnFailureOf"), p.list("OnSuccessOf"))
	for _, name := range slices.Concat(p.list("WantedBy"), p.list("RequiredBy"), p.list("BoundBy")) {
		if isKernelType(name) {
			names = append(names, name)
		}
	}
	id := p.text("Id")
	if prefix, _, ok := strings.Cut(id, "@"); ok && unitType(id) == "service" {
		// A socket with Accept=yes triggers its instances only once they are there.
		socket := prefix + ".socket"
		loaded, err := c.loaded(ctx, socket)
		if err != nil {
			return nil, err
		}
		if loaded {
			names = append(names, socket)
		}
	}
	if _, ok := p["OnFailureOf"]; ok {
		return names, nil
	}
	failing, err := c.withOnFailure(ctx, id) // before systemd 249
	return append(names, failing...), err
}

// withOnFailure returns the active units that start the named one when they fail.
func (c *connection) withOnFailure(ctx context.Context, name string) ([]string, error) {
	units, err := c.list(ctx, []string{"active", "activating", "reloading", "deactivating"}, "*")
	if err != nil {
		return nil, fmt.Errorf("list units: %w", err)
	}
	var found []string
	for _, u := range units {
		onFailure, err := c.get(ctx, u.Name, unitInterface, "OnFailure")
		if err != nil {
			return nil, err
		}
		if slices.Contains(listOf(onFailure), name) {
			found = append(found, u.Name)
		}
	}
	return found, nil
}

func listOf(v godbus.Variant) []string {
	l, _ := v.Value().([]string)
	return l
}
