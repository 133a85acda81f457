package vm

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
)

func TestGuestErrorHasTheEvidence(t *testing.T) {
	cause := errors.New("not up within 3m0s")
	err := &GuestError{Image: "debian-13", Doing: "boot", Err: cause, Console: []string{"line 1", "line 2"}, Stderr: "qemu: oops"}
	assert.EqualError(t, err, "boot debian-13: not up within 3m0s\n"+
		"the guest's console, 2 lines:\n  | line 1\n  | line 2\nQEMU's stderr: qemu: oops")
	assert.ErrorIs(t, err, cause)
	assert.EqualError(t, &GuestError{Image: "debian-13", Doing: "boot", Err: cause},
		"boot debian-13: not up within 3m0s\nthe guest printed nothing on its console")
}

// A full disk is an error of one line with a cure, in whatever call it shows.
func TestHostErrorOnAFullDisk(t *testing.T) {
	for _, err := range []error{
		&os.PathError{Op: "write", Path: "/cache/images/.stamp", Err: syscall.ENOSPC},
		&os.PathError{Op: "write", Path: "/cache/accel/v.json", Err: syscall.EDQUOT},
	} {
		got := HostError(fmt.Errorf("start: %w", err))
		var host *host.Error
		require.ErrorAs(t, got, &host)
		assert.Equal(t, "no space: start: "+err.Error(), host.Cause)
		assert.Contains(t, host.Cure, "vmtest snapshot prune")
		assert.Contains(t, host.Cure, "VMTEST_CACHE")
		assert.NotContains(t, got.Error(), "\n")
		assert.ErrorIs(t, got, err)
	}
	known := &host.Error{Cause: "no space: x", Cure: "y", Err: syscall.ENOSPC}
	assert.Same(t, known, HostError(known), "an error that has a cure already")
	other := errors.New("other")
	assert.Same(t, other, HostError(other))
}
