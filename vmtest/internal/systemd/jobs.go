package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// Job is a job of systemd: the change of a unit's state that was asked for and is not done.
type Job struct {
	ID    uint32
	Unit  string
	Type  string // such as "start"
	State string // "waiting" or "running"
	After []Job  // the jobs that it waits for; theirs are not listed
}

// String returns the job in one line.
func (j Job) String() string {
	text := fmt.Sprintf("job %d (%s %s, %s)", j.ID, j.Type, j.Unit, j.State)
	if len(j.After) == 0 {
		return text
	}
	after := make([]string, len(j.After))
	for i, a := range j.After {
		after[i] = a.String()
	}
	return text + ", which waits for " + strings.Join(after, ", ")
}

// Details is the state of a unit and what may explain it, for an error.
type Details struct {
	UnitState
	Jobs  []Job    // the unit's own
	Unmet []string // conditions and assertions that were false at its last start
}

// Inspect returns the details of a unit.
func (m *Manager) Inspect(ctx context.Context, unit string) (d Details, err error) {
	err = m.follow(ctx, func(c *connection, _ *signals) error {
		p, err := c.unit(ctx, unit)
		if err != nil {
			return err
		}
		d = Details{UnitState: p.state(), Unmet: p.unmet()}
		c.addEnd(ctx, unit, &d.UnitState)
		d.Jobs, err = c.jobs(ctx, d.ID)
		return err
	})
	return d, err
}

// jobs returns the jobs of a unit, and what they wait for.
func (c *connection) jobs(ctx context.Context, unit string) ([]Job, error) {
	all, err := c.listJobs(ctx)
	if err != nil {
		return nil, err
	}
	var jobs []Job
	for _, status := range all {
		if status.Unit != unit {
			continue
		}
		job := jobOf(status)
		var after []dbus.JobStatus
		// GetJobBefore returns the jobs that come before this one.
		err := c.call(ctx, "GetJobBefore", []any{job.ID}, &after)
		if e, ok := errors.AsType[godbus.Error](err); ok && e.Name == managerName+".NoSuchJob" {
			continue // it is done
		}
		if err != nil {
			return nil, fmt.Errorf("list what job %d waits for: %w", job.ID, err)
		}
		for _, a := range after {
			job.After = append(job.After, jobOf(a))
		}
		jobs = append(jobs, job)
	}
	return jobs, nil
}

func jobOf(s dbus.JobStatus) Job {
	return Job{ID: s.Id, Unit: s.Unit, Type: s.JobType, State: s.Status}
}
