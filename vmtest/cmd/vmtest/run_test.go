package main

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest"
)

func TestCommandStatus(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		silent bool
	}{
		{&vmtest.ExitError{ExitCode: 3}, 3, true},
		{&vmtest.ExitError{ExitCode: -1, Signal: "TERM"}, 143, true},
		{&vmtest.StartError{Name: "nope", Message: "not found", Errno: syscall.ENOENT}, 127, false},
		{&vmtest.StartError{Name: "/etc", Message: "permission denied", Errno: syscall.EACCES}, 126, false},
	} {
		var status *statusError
		require.ErrorAs(t, commandStatus(fmt.Errorf("run it: %w", tc.err)), &status)
		assert.Equal(t, tc.status, status.status)
		assert.Equal(t, tc.silent, status.err == nil)
	}
	assert.NoError(t, commandStatus(nil))
	other := &vmtest.GuestError{Image: "debian-13"}
	assert.Equal(t, other, commandStatus(other))
}
