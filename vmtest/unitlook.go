package vmtest

import (
	"context"
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"

	"example.org/systemd-vmtest/internal/tail"
)

// unitLook is the state of a unit that failed before.
type unitLook struct {
	active, sub string
	restarts    uint32
}

func lookAt(ctx context.Context, conn *dbus.Conn, unit string) (unitLook, error) {
	all, err := conn.GetAllPropertiesContext(ctx, unit)
	if err != nil {
		return unitLook{}, fmt.Errorf("read properties of %s: %w", unit, err)
	}
	var look unitLook
	look.active, _ = all["ActiveState"].(string)
	look.sub, _ = all["SubState"].(string)
	look.restarts, _ = all["NRestarts"].(uint32)
	return look, nil
}

// String returns the state as the end of a sentence about the unit, or "" for a unit whose
// state was not read.
func (l unitLook) String() string {
	if l.active == "" {
		return ""
	}
	text := fmt.Sprintf("; it is %s (%s)", l.active, l.sub)
	if l.restarts > 0 {
		text += fmt.Sprintf(", restarts: %d", l.restarts)
	}
	return tail.Printable(text)
}

func failedUnits(ctx context.Context, conn *dbus.Conn) ([]string, error) {
	units, err := conn.ListUnitsFilteredContext(ctx, []string{"failed"})
	if err != nil {
		return nil, fmt.Errorf("list failed units: %w", err)
	}
	var lines []string
	for _, u := range units {
		lines = append(lines, fmt.Sprintf("%s %s %s %s %s", u.Name, u.LoadState, u.ActiveState, u.SubState, u.Description))
	}
	return lines, nil
}

func jobs(ctx context.Context, conn *dbus.Conn) ([]string, error) {
	queue, err := conn.ListJobsContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	var lines []string
	for _, j := range queue {
		lines = append(lines, fmt.Sprintf("%d %s %s %s", j.Id, j.Unit, j.JobType, j.Status))
	}
	return lines, nil
}

// sockets returns a line for each socket that came with the test: where it listens, and
// in what state it is.
func sockets(ctx context.Context, conn *dbus.Conn) ([]string, error) {
	units, err := conn.ListUnitsByPatternsContext(ctx, nil, []string{"*.socket"})
	if err != nil {
		return nil, fmt.Errorf("list sockets: %w", err)
	}
	var lines []string
	for _, u := range units {
		if u.LoadState == "masked" {
			continue
		}
		file, err := conn.GetUnitPropertyContext(ctx, u.Name, "FragmentPath")
		if err != nil {
			return nil, fmt.Errorf("read FragmentPath of %s: %w", u.Name, err)
		}
		if path, _ := file.Value.Value().(string); !ofTest(path) {
			continue
		}
		all, err := conn.GetAllPropertiesContext(ctx, u.Name)
		if err != nil {
			return nil, fmt.Errorf("read properties of %s: %w", u.Name, err)
		}
		lines = append(lines, describeSocket(all))
	}
	return lines, nil
}

// ofTest reports whether a unit's file is where tests put theirs. The distribution's own
// are elsewhere.
func ofTest(file string) bool {
	return strings.HasPrefix(file, "/etc/") || strings.HasPrefix(file, "/run/")
}

// describeSocket returns a line about a socket with these properties. systemd counts
// connections only for Accept=yes.
func describeSocket(p map[string]any) string {
	var listen []string
	addresses, _ := p["Listen"].([][]any)
	for _, a := range addresses {
		if len(a) == 2 {
			listen = append(listen, fmt.Sprintf("%v (%v)", a[1], a[0]))
		}
	}
	text := fmt.Sprintf("%v %v (%v), result %v; listens on %s", p["Id"], p["ActiveState"], p["SubState"], p["Result"], strings.Join(listen, ", "))
	if accept, _ := p["Accept"].(bool); accept {
		text += fmt.Sprintf("; accepted %v, connected %v", p["NAccepted"], p["NConnections"])
	}
	return text
}
