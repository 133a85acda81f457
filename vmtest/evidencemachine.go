package vmtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/bundle"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

const (
	// bundleTime bounds saving the machine of a failed test.
	bundleTime = 45 * time.Second
	// afterBundle is kept back of the process's time, to clean up and to write the log when
	// the time for the machine was too short. leastBundle is the shortest to begin with.
	afterBundle = 4 * time.Second
	leastBundle = 3 * time.Second
)

// timeForBundle returns a context for keeping a machine. It returns an error if go test
// -timeout would end the process too soon.
func timeForBundle() (context.Context, context.CancelFunc, error) {
	ctx, cancelEnd := deadline.ForEvidence(context.Background()), context.CancelFunc(func() {})
	if from, length, ok := deadline.ProcessTime(); ok {
		end := from.Add(length)
		if left := time.Until(end); left < afterBundle+leastBundle {
			return nil, nil, fmt.Errorf("too little time is left for that: go test -timeout ends the test in %v", deadline.Brief(left))
		}
		ctx, cancelEnd = context.WithDeadlineCause(ctx, end.Add(-afterBundle), errors.New("go test -timeout left no more time"))
	}
	ctx, cancel := deadline.Within(ctx, deadline.Limit{What: "no snapshot", Time: bundleTime})
	return ctx, func() { cancel(); cancelEnd() }, nil
}

// keepMachine ends the machine and keeps it among the evidence of a test, if
// $VMTEST_EVIDENCE_SNAPSHOT says so. It returns a line for the log that begins with a line
// break, or "" if the variable does not. s is what the guest has shown.
func (m *Machine) keepMachine(dir *evidence.Directory, test string, s *summary) string {
	if os.Getenv(bundle.Option) != "1" {
		return ""
	}
	began := time.Now()
	size, err := m.bundle(dir.Path(), test, s)
	if err != nil {
		why, _, _ := strings.Cut(tail.Printable(public(err).Error()), "\n")
		dir.Text(bundle.WhyNot, why)
		return "\nthe machine is not saved: " + why
	}
	line := fmt.Sprintf("\nthe machine is saved: %d MB, made in %.1f s", size.Own/1e6, time.Since(began).Seconds())
	if size.Shared > 0 {
		line += fmt.Sprintf(", and %d MB of its image by hard links", size.Shared/1e6)
	}
	line += `; "vmtest resume DIRECTORY" goes on from here`
	if err := dir.DropLarge(bundle.Name, bundle.WhyNot); err != nil {
		line += "\nolder machines are left: " + tail.Printable(err.Error())
	}
	return line
}

func (m *Machine) bundle(dir, test string, s *summary) (bundle.Size, error) {
	if keepWanted() {
		return bundle.Size{}, errors.New("-vmtest.keep or VMTEST_KEEP keeps it running, and saving would end it")
	}
	if !s.answers { // and could not wait for a fork
		return bundle.Size{}, fmt.Errorf("it cannot be stopped for a snapshot: %s", s.health)
	}
	ctx, cancel, err := timeForBundle()
	if err != nil {
		return bundle.Size{}, err
	}
	defer cancel()
	return m.vm.Bundle(ctx, dir, bundle.Info{Test: test, Made: time.Now().UTC(), Command: m.steps.Last()}, !s.pid1)
}
