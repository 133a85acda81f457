package vmtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// UnitError reports that a unit did not reach the state that was waited for, or did not do
// what was asked of it.
type UnitError struct {
	Op   string // what was asked of the unit, such as "wait", "start" or "kill"
	Unit string // the name that the caller used
	// Want is the state that was waited for, if Op is "wait", the value of Property, or of a
	// template the number of instances.
	Want string
	// Property is the property that was waited for, or "".
	Property string

	// ActiveState and SubState are what was seen last, or "" if nothing was seen.
	ActiveState, SubState string
	// Result is why the unit failed, such as "exit-code", or "".
	Result string
	// ExitCode is the exit status of the main process of a service in its last run. It is
	// -1 if a signal ended the process, and if no end is known.
	ExitCode int
	// Signal is the name without SIG, such as "KILL", of the signal that ended the main
	// process, or "".
	Signal     string
	CoreDumped bool // with Signal only
	// JobResult is how the job that Op queued ended, such as "dependency", or "" if it
	// has not ended, or there was none.
	JobResult string
	// Jobs has the jobs that the unit has now.
	Jobs []Job
	// Unmet has the conditions and assertions that were false at the unit's last start,
	// as lines of a unit file.
	Unmet []string
	// Journal has the last lines of the journal that the unit wrote or that are about it.
	Journal []string
	// Err is why the call failed.
	Err error
}

// Job is a job of systemd: a change of a unit's state that was asked for and is not done.
type Job struct {
	ID    uint32
	Unit  string
	Type  string // such as "start"
	State string // "waiting" or "running"
	After []Job  // the jobs that it waits for; their own After is empty
}

// String returns the job in one line, with the jobs that it waits for.
func (j Job) String() string { return tail.Printable(j.internal().String()) }

func (j Job) internal() systemd.Job {
	after := make([]systemd.Job, len(j.After))
	for i, a := range j.After {
		after[i] = a.internal()
	}
	return systemd.Job{ID: j.ID, Unit: j.Unit, Type: j.Type, State: j.State, After: after}
}

func publicJobs(jobs []systemd.Job) []Job {
	var all []Job
	for _, j := range jobs {
		all = append(all, Job{ID: j.ID, Unit: j.Unit, Type: j.Type, State: j.State, After: publicJobs(j.After)})
	}
	return all
}

// Error returns the cause and what was seen on the first line, and the journal on those
// below it.
func (e *UnitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.doing(), e.Err)
	switch {
	case systemd.IsTemplate(e.Unit): // Err has the states of the instances
	case e.ActiveState == "":
		b.WriteString("; no state was seen")
	default:
		fmt.Fprintf(&b, "; it is %s (%s)", e.ActiveState, e.SubState)
	}
	if e.Result != "" {
		b.WriteString(", result " + e.Result)
		if e.ExitCode > 0 || e.Signal != "" {
			fmt.Fprintf(&b, ", %v", &ExitError{e.ExitCode, e.Signal, e.CoreDumped})
		}
	}
	if len(e.Unmet) > 0 && !errors.As(e.Err, new(*systemd.UnmetError)) {
		b.WriteString("; false at its last start: " + strings.Join(e.Unmet, ", "))
	}
	for _, job := range e.Jobs {
		b.WriteString("; it has " + job.String())
	}
	if len(e.Journal) == 0 {
		b.WriteString("\nits journal is empty")
	}
	for _, line := range e.Journal {
		b.WriteString("\n  | " + line)
	}
	return tail.Printable(b.String()) // the guest writes states and causes
}

// Unwrap returns Err.
func (e *UnitError) Unwrap() error { return e.Err }

func (e *UnitError) doing() string {
	if e.Property != "" {
		return fmt.Sprintf("wait for %s of %s to be %s", e.Property, e.Unit, e.Want)
	}
	if e.Want != "" && systemd.IsTemplate(e.Unit) {
		return fmt.Sprintf("wait for %s instances of %s", e.Want, e.Unit)
	}
	if e.Want != "" {
		return fmt.Sprintf("wait for %s to be %s", e.Unit, e.Want)
	}
	return e.Op + " " + e.Unit
}

// setState sets what was seen of the unit.
func (e *UnitError) setState(s systemd.UnitState) {
	e.ActiveState, e.SubState, e.Result = s.ActiveState, s.SubState, s.Result
	e.ExitCode, e.Signal, e.CoreDumped = s.End()
}

// plain returns the error without evidence.
func (e *UnitError) plain() error { return fmt.Errorf("%s: %w", e.doing(), e.Err) }

// unitJournal is how many lines of the journal a UnitError has.
const unitJournal = 20

// addEvidence adds to e what PID 1 and the journal have about the unit. Its error is the
// *GuestError of a guest that has gone meanwhile.
func (u *MachineUnit) addEvidence(ctx context.Context, e *UnitError) error {
	// The call's own time may be over.
	ctx, cancel := deadline.Within(deadline.ForEvidence(ctx), deadline.Limit{What: "not read", Time: deadline.Reserve / 2})
	defer cancel()
	if systemd.IsTemplate(u.name) {
		return u.addInstances(ctx, e)
	}
	d, err := u.machine.units().InspectUnit(ctx, u.name)
	if err = public(err); errors.As(err, new(*GuestError)) {
		return err
	} else if err != nil && ctx.Err() != nil { // the error of the call itself says who answers
		e.Journal = append(e.Journal, "its jobs and its journal: "+context.Cause(ctx).Error())
		return nil
	} else if err != nil {
		e.Journal = append(e.Journal, "its jobs cannot be read: "+err.Error())
	}
	e.Jobs, e.Unmet = publicJobs(d.Jobs), d.Unmet
	// A wait has what it saw itself, but for the end of a run if its time was over.
	same := e.ActiveState == d.ActiveState && e.SubState == d.SubState
	if e.Op != "wait" || e.Property != "" || same && e.ExitCode == -1 && e.Signal == "" {
		e.setState(d.UnitState)
	}
	if unmet, ok := errors.AsType[*systemd.UnmetError](e.Err); ok && unmet.Known {
		e.Unmet = unmet.Conditions
	}
	// The journal has the entries under the unit's own name, its ID.
	entries, err := u.machine.Journal(ctx, JournalQuery{Unit: cmp.Or(d.ID, u.name), Last: journalRead})
	if errors.As(err, new(*GuestError)) {
		return err
	} else if err != nil {
		e.Journal = append(e.Journal, "its journal cannot be read: "+err.Error())
	}
	all := make([]journal.Entry, len(entries))
	for i, entry := range entries {
		all[i] = journal.Entry(entry)
	}
	lines := linesOf(journal.Brief(all), journal.Entry.String)
	e.Journal = append(e.Journal, lines[max(0, len(lines)-unitJournal):]...)
	return nil
}

// addInstances is addEvidence for a template, which has no state itself.
func (u *MachineUnit) addInstances(ctx context.Context, e *UnitError) error {
	all, err := u.machine.Journal(ctx, JournalQuery{})
	if errors.As(err, new(*GuestError)) {
		return err
	} else if err != nil {
		e.Journal = append(e.Journal, "its journal cannot be read: "+err.Error())
	}
	uid := u.machine.unitID(u.name).UID
	for _, entry := range all {
		by, about := journal.Entry(entry).Units()
		for _, unit := range []journal.UnitID{by, about} {
			if unit.UID == uid && systemd.TemplateOf(unit.Name) == u.name {
				e.Journal = append(e.Journal, entry.String())
				break
			}
		}
	}
	e.Journal = e.Journal[max(0, len(e.Journal)-unitJournal):]
	return nil
}
