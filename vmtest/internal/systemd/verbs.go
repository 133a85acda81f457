package systemd

import (
	"context"
	"fmt"
	"strings"

	godbus "github.com/godbus/dbus/v5"
)

// Verb is what systemd is asked to do with a unit, by the name of systemctl's verb.
type Verb string

// The verbs of Run.
const (
	Start   Verb = "start"
	Stop    Verb = "stop"
	Restart Verb = "restart"
	Reload  Verb = "reload"
)

// methods has the methods of org.freedesktop.systemd1.Manager that queue a job.
var methods = map[Verb]string{Start: "StartUnit", Stop: "StopUnit", Restart: "RestartUnit", Reload: "ReloadUnit"}

// JobError reports that a job did not end as "done".
type JobError struct {
	ID     uint32
	Result string // as org.freedesktop.systemd1(5), JobRemoved, has it
}

func (e *JobError) Error() string {
	return fmt.Sprintf("job %d ended with result %q", e.ID, e.Result)
}

// UnmetError reports that a unit did not start because a condition was false.
type UnmetError struct {
	// Conditions has the conditions that were false, as lines of a unit file. If Known is
	// false it has all conditions of the unit, because systemd has unloaded it since.
	Conditions []string
	Known      bool
}

func (e *UnmetError) Error() string {
	text := "it did not start because a condition was false"
	if !e.Known {
		text += ", one of these"
	}
	return text + ": " + strings.Join(e.Conditions, ", ")
}

// Run asks systemd to start, stop, restart or reload a unit, and waits until the job is
// done. A job that ends otherwise is a *JobError. A start that was "done" because a
// condition of the unit was false is an *UnmetError, because the unit did not start.
func (m *Manager) Run(ctx context.Context, verb Verb, unit string) error {
	if err := CheckUnitName(unit); err != nil {
		return err
	}
	return m.runJob(ctx, &pendingJob{verb: verb, unit: unit, method: methods[verb], args: []any{unit, "replace"}})
}

func (m *Manager) runJob(ctx context.Context, j *pendingJob) error {
	return m.follow(ctx, func(c *connection, s *signals) error {
		if j.path == "" {
			return j.queue(ctx, c, s)
		}
		return j.resume(ctx, c, s)
	})
}

// pendingJob is a job that Run waits for.
type pendingJob struct {
	verb Verb
	unit string // as the caller names it

	method string // that queues the job
	args   []any

	path    godbus.ObjectPath // once systemd has queued it
	changes map[godbus.ObjectPath]properties
}

// queue queues the job and waits for its end. A call that gets no answer because the
// connection ends is not made again: systemd may have queued the job.
func (j *pendingJob) queue(ctx context.Context, c *connection, s *signals) error {
	err := c.call(ctx, j.method, j.args, &j.path)
	switch {
	case err == nil:
		return j.await(ctx, c, s)
	case ctx.Err() == nil && c.lost(err):
		return fmt.Errorf("%w: %w", errUnanswered, err)
	}
	return err
}

// resume waits on for a job that was queued on a connection which has ended.
func (j *pendingJob) resume(ctx context.Context, c *connection, s *signals) error {
	jobs, err := c.listJobs(ctx)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if job.JobPath == j.path {
			return j.await(ctx, c, s)
		}
	}
	// It ended meanwhile. systemd does not keep its result.
	p, err := c.unit(ctx, j.unit)
	if err != nil {
		return err
	}
	if p.down() != (j.verb == Stop) {
		return fmt.Errorf("%s ended while there was no connection to systemd, and its result is not known", j)
	}
	return nil
}

// await waits for the signal that the job has ended.
func (j *pendingJob) await(ctx context.Context, c *connection, s *signals) error {
	j.changes = make(map[godbus.ObjectPath]properties)
	for {
		signal, err := s.receive(ctx)
		if err != nil {
			return fmt.Errorf("%s is not done: %w", j, err)
		}
		j.record(signal)
		if signal.Name != managerInterface+".JobRemoved" || len(signal.Body) != 4 || signal.Body[1] != j.path {
			continue
		}
		id, _ := signal.Body[0].(uint32)
		result, _ := signal.Body[3].(string)
		if result != "done" {
			return &JobError{id, result}
		}
		if j.verb != Start && j.verb != Restart {
			return nil
		}
		return j.started(ctx, c, unitOf(signal))
	}
}

// record keeps the properties that a signal announces. systemd unloads a unit that did not start,
// and with it forgets which condition was false.
func (j *pendingJob) record(s *godbus.Signal) {
	if of, changed := changeOf(s); of == unitInterface {
		j.changes[s.Path] = plainValues(changed)
	}
}

// started returns an error if the unit did not start because a condition was false. unit
// is its own name.
func (j *pendingJob) started(ctx context.Context, c *connection, unit string) error {
	p, err := c.unit(ctx, unit)
	if err != nil {
		return err
	}
	if unmet := p.checks("Condition"); unmet != nil && p.down() {
		return &UnmetError{unmet, true}
	}
	changed := j.changes[objectPath(unit)]
	if at, _ := changed["ConditionTimestamp"].(uint64); at == 0 || changed["ConditionResult"] != false || !changed.down() {
		return nil
	}
	all := p.conditions()
	return &UnmetError{all, len(all) == 1}
}

// conditions returns all conditions of the unit, tried or not.
func (p properties) conditions() []string {
	all, _ := p["Conditions"].([][]any)
	var texts []string
	for _, check := range all {
		if len(check) == 5 {
			texts = append(texts, checkText(check))
		}
	}
	return texts
}

func (j *pendingJob) String() string {
	return "job " + string(j.path[strings.LastIndexByte(string(j.path), '/')+1:])
}

// Kill sends a signal to all processes of a unit. It is an error if there is none.
func (m *Manager) Kill(ctx context.Context, unit string, signal int32) error {
	if err := CheckUnitName(unit); err != nil {
		return err
	}
	return m.callOnce(ctx, "KillUnit", unit, "all-fail", signal)
}

// ResetFailed makes systemd forget that a unit has failed.
func (m *Manager) ResetFailed(ctx context.Context, unit string) error {
	if err := CheckUnitName(unit); err != nil {
		return err
	}
	return m.callOnce(ctx, "ResetFailedUnit", unit)
}

// callOnce calls a method of systemd that returns nothing.
func (m *Manager) callOnce(ctx context.Context, method string, args ...any) error {
	c, err := m.connect(ctx)
	if err != nil {
		return err
	}
	return c.explain(c.call(ctx, method, args))
}
