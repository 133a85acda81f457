package vmtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

func TestGuestErrorHasTheEvidence(t *testing.T) {
	cause := errors.New("not up within 3m0s")
	err := &GuestError{Image: "debian-13", Doing: "boot", Err: cause, Console: []string{"line 1", "line 2"}, Stderr: "qemu: oops"}
	assert.EqualError(t, err, "boot debian-13: not up within 3m0s\n"+
		"the guest's console, last 2 lines:\n  | line 1\n  | line 2\nQEMU's stderr: qemu: oops")
	assert.ErrorIs(t, err, cause)
	assert.EqualError(t, &GuestError{Image: "debian-13", Doing: "boot", Err: cause},
		"boot debian-13: not up within 3m0s\nthe guest printed nothing on its console")
}

func TestConsoleCause(t *testing.T) {
	assert.Empty(t, consoleCause([]string{"Debian GNU/Linux 13 localhost ttyS0"}))
	assert.Equal(t, "the guest's kernel panicked: VFS: Unable to mount root fs", consoleCause([]string{
		"[    5.2] Kernel panic - not syncing: VFS: Unable to mount root fs", "[    5.3] CPU: 0",
	}))
	assert.Equal(t, "the guest's init stopped: load module overlay: exec format error", consoleCause([]string{
		"vmtest init: load module overlay: exec format error",
		"[    5.2] Kernel panic - not syncing: Attempted to kill init!",
	}), "init's own reason comes before the panic that follows")
}

// systemd-analyze that the kernel kills prints nothing.
func TestVerifyErrorOfASilentEnd(t *testing.T) {
	end := &ExitError{Code: -1, Signal: "KILL"}
	err := &VerifyError{Units: []string{"a.service"}, Err: end}
	assert.EqualError(t, err, "verify a.service: signal KILL, and it printed nothing")
	assert.ErrorIs(t, err, end)
}

func TestErrorsAreSafeToPrint(t *testing.T) {
	const evil = "\x1b]0;owned\x07bad"
	for want, err := range map[string]error{
		"signal bad":   &ExitError{Code: -1, Signal: evil},
		"start x: bad": &StartError{Name: "x", Message: evil},
		"boot debian-13: bad\nthe guest printed nothing on its console":              &GuestError{Image: "debian-13", Doing: "boot", Err: errors.New(evil)},
		"wait for a.socket to be active: bad; it is bad (bad), result bad\n  | line": &UnitError{Unit: "a.socket", Want: "active", ActiveState: evil, SubState: evil, Result: evil, Journal: []string{"line"}, Err: errors.New(evil)},
	} {
		assert.EqualError(t, err, want)
	}
}

func TestStartErrorNamesTheProgramOnce(t *testing.T) {
	err := &StartError{Name: "/etc", Message: "fork/exec /etc: permission denied", Errno: syscall.EACCES}
	assert.EqualError(t, err, "start /etc: permission denied")
	assert.ErrorIs(t, err, fs.ErrPermission)
}

// A full disk is what the host lacks, in one line with the cure, whoever met it.
func TestHostErrorOnAFullDisk(t *testing.T) {
	for _, err := range []error{
		&snapshots.NoRoomError{Dir: "/cache/snapshots", Free: 3e6, Need: 541e6},
		&os.PathError{Op: "write", Path: "/cache/images/.stamp", Err: syscall.ENOSPC},
		&os.PathError{Op: "write", Path: "/cache/accel/v.json", Err: syscall.EDQUOT},
	} {
		got := hostError(fmt.Errorf("start: %w", err))
		var host *HostError
		require.ErrorAs(t, got, &host)
		assert.Equal(t, "no space: start: "+err.Error(), host.Cause)
		assert.Contains(t, host.Cure, "vmtest snapshot prune")
		assert.Contains(t, host.Cure, "VMTEST_CACHE")
		assert.NotContains(t, got.Error(), "\n")
		assert.ErrorIs(t, got, err)
	}
	known := &HostError{Cause: "no space: x", Cure: "y", Err: syscall.ENOSPC}
	assert.Same(t, known, hostError(known), "who knows better is believed")
	other := errors.New("other")
	assert.Same(t, other, hostError(other))
}
