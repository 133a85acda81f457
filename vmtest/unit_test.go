package vmtest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestUnitErrorText(t *testing.T) {
	failed := errors.New("the unit failed")
	err := &UnitError{
		Unit: "a.service", Want: "active", ActiveState: "failed", SubState: "failed", Result: "exit-code",
		Journal: []string{"systemd[1]: a.service: Failed"}, Err: failed,
	}
	assert.EqualError(t, err, "wait for a.service to be active: the unit failed; it is failed (failed), result exit-code\n  | systemd[1]: a.service: Failed")
	assert.ErrorIs(t, err, failed)
}
