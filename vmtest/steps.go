package vmtest

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

// stepOf notes what a test did with a guest, if it is a call from outside this package. A
// command is noted with its output, where it is run.
func (m *Machine) stepOf(began time.Time, err error) {
	name, at := caller()
	if m.steps == nil || name == "" || name == "Guest.Run" || name == "Guest.Exec" {
		return
	}
	m.steps.Add(evidence.Step{Began: began, Took: time.Since(began), Text: name + " at " + at, Result: errorText(err)})
}

// stepOfCommand notes a command. late says that it began after the test had failed.
func (m *Machine) stepOfCommand(began time.Time, late bool, c Command, r Result, err error) {
	if m.steps == nil {
		return
	}
	m.steps.Ran(evidence.Command{Args: c.Args, Env: c.Env, Dir: c.Dir, User: c.User, Input: c.Stdin != nil,
		Began: began, Took: time.Since(began), ExitCode: r.ExitCode, Signal: r.Signal, Err: errorText(err),
		Stdout: r.Stdout, Stderr: r.Stderr}, late)
	what := "$ " + c.String()
	if c.User != "" {
		what = c.User + what
	}
	m.steps.Add(evidence.Step{Began: began, Took: time.Since(began), Text: what,
		Result: errorText(err), Output: string(r.Stdout) + string(r.Stderr)})
}

// byGuest returns steps with their times by the guest's clock, which the test may have moved.
func (m *Machine) byGuest(steps []evidence.Step) []evidence.Step {
	for i := range steps {
		steps[i].Began = m.vm.GuestTime(steps[i].Began)
	}
	return steps
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// ours begins the names of this package's functions.
const ours = "example.org/systemd-vmtest/vmtest."

// caller returns the function of this package that was called from outside it, such as
// "Guest.EnableNow", and the file and line of the call. It returns "" if there is none.
func caller() (name, at string) {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if function, ok := strings.CutPrefix(frame.Function, ours); ok {
			function, _, _ = strings.Cut(function, "[") // of type parameters
			name = strings.NewReplacer("(*", "", ")", "").Replace(function)
		} else {
			return name, fmt.Sprintf("%s:%d", filepath.Base(frame.File), frame.Line)
		}
		if !more {
			return "", ""
		}
	}
}
