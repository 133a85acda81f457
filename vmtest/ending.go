package vmtest

import (
	"context"
	"fmt"
	"math"
	"strings"
)

// Ending is how a guest went.
type Ending string

// The endings that QEMU tells apart, and a panic, which to QEMU is a reset.
const (
	Poweroff Ending = "poweroff" // the guest switched itself off
	Reboot   Ending = "reboot"   // it reset itself; what it had written to RAM is gone
	Panic    Ending = "panic"    // its kernel panicked
	Killed   Ending = "killed"   // QEMU ended by itself or was ended, without the guest's doing
)

// Kill cuts the guest's power: QEMU is killed at once, and the machine closed. Of a
// machine with a Config.Disk there stays what the guest's kernel had handed to the
// disk: all that was synced (sync(1), fsync(2)), and of the rest what the kernel
// happened to write back by itself, which it does within some 30 s. What was in the
// guest's memory alone is lost: dirty pages, RAM file systems such as /run, and
// processes. The disk itself forgets nothing that it was handed, flushed or not.
func (m *Machine) Kill() error { return m.Close() }

// Wait waits until the guest has gone and tells how. It does not close the machine.
func (m *Machine) Wait(ctx context.Context) (Ending, error) {
	select {
	case <-m.Done():
		finished(m.consoleDone)
		finished(m.eventsDone)
		return m.ending(), nil
	case <-ctx.Done():
		return "", fmt.Errorf("wait for the guest to go: %w", context.Cause(ctx))
	}
}

// ending is the ending of a machine that has gone.
func (m *Machine) ending() Ending {
	switch m.events.now().shutdown {
	case "guest-shutdown":
		return Poweroff
	case "guest-reset", "guest-panic":
		if strings.Contains(consoleCause(m.console.Lines(math.MaxInt)), "panicked") {
			return Panic
		}
		return Reboot
	}
	return Killed
}
