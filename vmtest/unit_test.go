package vmtest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

func TestUnitErrorText(t *testing.T) {
	failed := errors.New("the unit failed")
	err := &UnitError{
		Op: "wait", Unit: "a.service", Want: "active", ActiveState: "failed", SubState: "failed", Result: "exit-code",
		Journal: []string{"systemd[1]: a.service: Failed"}, Err: failed,
	}
	assert.EqualError(t, err, "wait for a.service to be active: the unit failed; it is failed (failed), result exit-code\n  | systemd[1]: a.service: Failed")
	assert.ErrorIs(t, err, failed)
}

func TestUnitErrorHasWhatDecides(t *testing.T) {
	err := &UnitError{
		Op: "start", Unit: "a.service", ActiveState: "inactive", SubState: "dead", Err: errors.New("job 7 is not done"),
		Unmet: []string{"ConditionPathExists=/x", "AssertUser=root"},
		Jobs: []Job{{ID: 7, Unit: "a.service", Type: "start", State: "waiting", After: []Job{
			{ID: 8, Unit: "dev-x.device", Type: "start", State: "running"},
		}}},
	}
	assert.EqualError(t, err, "start a.service: job 7 is not done; it is inactive (dead)"+
		"; false at its last start: ConditionPathExists=/x, AssertUser=root"+
		"; it has job 7 (start a.service, waiting), which waits for job 8 (start dev-x.device, running)\nits journal is empty")
}

// A UnitError has the end of the main process in the same fields as an ExitError.
func TestUnitErrorHasTheEndOfTheMainProcess(t *testing.T) {
	for want, end := range map[string]systemd.UnitState{
		"result exit-code, exit status 3":             {Result: "exit-code", MainCode: 1, MainStatus: 3},
		"result signal, signal KILL":                  {Result: "signal", MainCode: 2, MainStatus: 9},
		"result signal, signal 34":                    {Result: "signal", MainCode: 2, MainStatus: 34},
		"result core-dump, signal SEGV (core dumped)": {Result: "core-dump", MainCode: 3, MainStatus: 11},
		"result exit-code":                            {Result: "exit-code"}, // of a control process
		"result timeout":                              {Result: "timeout", MainCode: 1},
	} {
		e := &UnitError{Op: "wait", Unit: "a.service", Want: "active", Err: errors.New("the unit failed")}
		end.ActiveState, end.SubState = "failed", "failed"
		e.setState(end)
		assert.EqualError(t, e, "wait for a.service to be active: the unit failed; it is failed (failed), "+want+"\nits journal is empty")
		if end.MainCode == 1 {
			assert.Equal(t, int(end.MainStatus), e.ExitCode, want)
		} else {
			assert.Equal(t, -1, e.ExitCode, want)
		}
	}
}

// A service that was stopped has an end that is no reason for anything.
func TestUnitErrorOmitsAnEndWithoutFailure(t *testing.T) {
	e := &UnitError{Op: "wait", Unit: "a.service", Want: "active", Err: errors.New("nothing will start it")}
	e.setState(systemd.UnitState{ActiveState: "inactive", SubState: "dead", MainCode: 2, MainStatus: 15})
	assert.Equal(t, "TERM", e.Signal)
	assert.EqualError(t, e, "wait for a.service to be active: nothing will start it; it is inactive (dead)\nits journal is empty")
}

func TestUnitErrorWithoutAState(t *testing.T) {
	err := &UnitError{Op: "wait", Unit: "a.service", Want: "active", Err: errors.New("no answer")}
	assert.EqualError(t, err, "wait for a.service to be active: no answer; no state was seen\nits journal is empty")
}

// A condition that kept a unit from its start is named once.
func TestUnitErrorNamesAConditionOnce(t *testing.T) {
	unmet := &systemd.UnmetError{Conditions: []string{"ConditionPathExists=/x"}, Known: true}
	err := &UnitError{Op: "start", Unit: "a.service", ActiveState: "inactive", SubState: "dead", Err: unmet, Unmet: unmet.Conditions}
	assert.EqualError(t, err, "start a.service: it did not start because a condition was false: ConditionPathExists=/x; it is inactive (dead)\nits journal is empty")
}

func TestUnitErrorOfAProperty(t *testing.T) {
	err := &UnitError{Op: "wait", Unit: "a.socket", Property: "NAccepted", Want: "2", ActiveState: "active", SubState: "listening", Err: errors.New("no answer; NAccepted is 1")}
	assert.EqualError(t, err, "wait for NAccepted of a.socket to be 2: no answer; NAccepted is 1; it is active (listening)\nits journal is empty")
}
