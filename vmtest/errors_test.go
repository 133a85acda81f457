package vmtest

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// public returns an error of package vm as one of this package, with its text and cause.
func TestPublicGuestError(t *testing.T) {
	cause := errors.New("not up within 3m0s")
	err := fmt.Errorf("run true: %w", &vm.GuestError{Image: "debian-13", Doing: "boot", Err: cause, Console: []string{"line"}})
	var guest *GuestError
	require.ErrorAs(t, public(err), &guest)
	assert.Equal(t, []string{"line"}, guest.Console)
	assert.EqualError(t, public(err), err.Error())
	assert.ErrorIs(t, public(err), cause)
	assert.Equal(t, public(err), public(public(err)))
	assert.Same(t, cause, public(cause))
	assert.NoError(t, public(nil))
}

func TestErrorsArePrintable(t *testing.T) {
	const evil = "\x1b]0;owned\x07bad"
	for want, err := range map[string]error{
		"signal bad":   &ExitError{ExitCode: -1, Signal: evil},
		"start x: bad": &StartError{Name: "x", Message: evil},
		"boot debian-13: bad\nthe guest printed nothing on its console":              &GuestError{Image: "debian-13", Doing: "boot", Err: errors.New(evil)},
		"wait for a.socket to be active: bad; it is bad (bad), result bad\n  | line": &UnitError{Unit: "a.socket", Want: "active", ActiveState: evil, SubState: evil, Result: evil, Journal: []string{"line"}, Err: errors.New(evil)},
	} {
		assert.EqualError(t, err, want)
	}
}

func TestStartErrorNamesProgramOnce(t *testing.T) {
	err := &StartError{Name: "/etc", Message: "fork/exec /etc: permission denied", Errno: syscall.EACCES}
	assert.EqualError(t, err, "start /etc: permission denied")
	assert.ErrorIs(t, err, fs.ErrPermission)
}
