package vmtest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
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
