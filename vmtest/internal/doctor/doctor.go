// Package doctor examines what this host has for building and running guests.
package doctor

import (
	"context"
	"errors"
	"time"

	"example.org/systemd-vmtest/internal/host"
)

// State is what a finding means.
type State string

const (
	OK    State = "ok"
	Note  State = "note"  // guests run, but something else does not, or they are slower
	Fault State = "fault" // no guest runs
)

// Finding is a line of "vmtest doctor".
type Finding struct {
	Check host.Check `json:"check"`
	State State      `json:"state"`
	Found string     `json:"found"`          // one line: what was seen, and what it means
	Cure  string     `json:"cure,omitempty"` // one line: what a person can do
}

// limit bounds each examination. Most take milliseconds; the trial of KVM starts QEMU.
const limit = 8 * time.Second

// examination looks at one thing.
type examination struct {
	check host.Check
	look  func(context.Context) Finding
}

func examinations() []examination {
	return []examination{
		{host.QEMU, emulator},
		{host.KVM, kvm},
		{host.Memory, memory},
		{host.Disk, disk},
		{host.TemporaryFiles, temporaryFiles},
		{host.CacheDirectory, cache},
		{host.Tools, tools},
		{host.Namespaces, namespaces},
		{host.GoCommand, goCommand},
		{host.Clock, clock},
	}
}

// Examine calls report with each finding, in the order of the constants of [host.Check]. It
// takes less than ten seconds. It changes nothing but the cache, which keeps the verdict on KVM.
func Examine(ctx context.Context, report func(Finding)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("not known after "+limit.String()))
	defer cancel()
	return examine(ctx, examinations(), report)
}

// examine makes all examinations at once. It reports one that does not end with ctx by the
// cause of that end.
func examine(ctx context.Context, all []examination, report func(Finding)) error {
	var results []chan Finding
	for _, e := range all {
		result := make(chan Finding, 1)
		results = append(results, result)
		go func() {
			f := e.look(ctx)
			f.Check = e.check
			result <- f
		}()
	}
	for i, e := range all {
		select {
		case f := <-results[i]:
			report(f)
		case <-ctx.Done():
			select {
			case f := <-results[i]: // it was in time
				report(f)
			default:
				report(Finding{Check: e.check, State: Note, Found: context.Cause(ctx).Error()})
			}
		}
	}
	if cause := context.Cause(ctx); errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// of returns the finding for an error. It takes the cure from a *host.Error.
func of(state State, err error) Finding {
	if lacking, ok := errors.AsType[*host.Error](err); ok {
		return Finding{State: state, Found: lacking.Cause, Cure: lacking.Cure}
	}
	return Finding{State: state, Found: err.Error()}
}
