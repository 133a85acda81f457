package systemd

import (
	"context"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"
)

// list returns the loaded units in one of the states, or in any if there are none, whose
// names match a pattern of fnmatch(3).
func (c *connection) list(ctx context.Context, states []string, pattern string) (units []dbus.UnitStatus, err error) {
	err = c.call(ctx, "ListUnitsByPatterns", []any{states, []string{pattern}}, &units)
	return units, err
}

// listJobs returns all jobs.
func (c *connection) listJobs(ctx context.Context) (jobs []dbus.JobStatus, err error) {
	if err = c.call(ctx, "ListJobs", nil, &jobs); err != nil {
		err = fmt.Errorf("list jobs: %w", err)
	}
	return jobs, err
}
