package vmtest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.org/systemd-vmtest/vmtest/internal/evidence"
)

func TestStepOfCommand(t *testing.T) {
	m := &Machine{steps: new(evidence.Steps)}
	m.stepOfCommand(time.Now(), false, Command{Args: []string{"echo", "a b"}, User: "demo"},
		Result{Stdout: []byte("a b\n"), Stderr: []byte("oops\n")}, errors.New("exit status 1"))
	step := m.steps.All()[0]
	assert.Equal(t, "demo$ echo 'a b'", step.Text)
	assert.Equal(t, "exit status 1", step.Result)
	assert.Equal(t, "a b\noops\n", step.Output)
	(&Machine{}).stepOfCommand(time.Now(), false, Command{}, Result{}, nil) // of what is no step
}

// A call is named after the function that was called from outside the package, here from
// package testing.
func TestStepOf(t *testing.T) {
	m := &Machine{steps: new(evidence.Steps)}
	func() { m.stepOf(time.Now(), nil) }()
	assert.Regexp(t, `^TestStepOf at testing\.go:\d+$`, m.steps.All()[0].Text)
}
