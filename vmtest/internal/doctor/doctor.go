// Package doctor examines what this host has for building and running guests.
package doctor

import (
	"context"
	"errors"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
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

// limit bounds each examination. Most take milliseconds; the trial of KVM starts QEMU, and
// the agent may have to be built.
const limit = 8 * time.Second

// examination looks at one thing.
type examination struct {
	check host.Check
	look  func(context.Context) Finding
	late  string // the cure if it does not end in time; may be empty
}

func examinations() []examination {
	examined := make(chan struct{}) // the cache as it is, before the agent is built there
	cacheFirst := func(ctx context.Context) Finding {
		defer close(examined)
		return cache(ctx)
	}
	agentThen := func(ctx context.Context) Finding {
		<-examined
		return agent(ctx)
	}
	return []examination{
		{check: host.QEMU, look: emulator},
		{check: host.KVM, look: kvm},
		{check: host.Memory, look: memory},
		{check: host.Disk, look: disk},
		{check: host.TemporaryFiles, look: temporaryFiles},
		{check: host.CacheDirectory, look: cacheFirst},
		{check: host.Tools, look: tools},
		{check: host.Namespaces, look: namespaces},
		{check: host.GoCommand, look: goCommand},
		{check: host.Agent, look: agentThen, late: "run vmtest run true, which builds it without this limit"},
		{check: host.Clock, look: clock},
	}
}

// Examine calls report with each finding, in the order of the constants of [host.Check]. It
// takes less than ten seconds. It changes nothing but the cache, which keeps the verdict on KVM
// and the agent.
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
				report(Finding{Check: e.check, State: Note, Found: context.Cause(ctx).Error(), Cure: e.late})
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
	return Finding{State: state, Found: oneLine(err.Error())}
}

// oneLine returns a text of several lines, such as the go command's, as one.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(tail.Printable(text), func(r rune) bool { return r == '\n' }), "; ")
}
