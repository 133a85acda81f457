package vm

import (
	"context"
	"fmt"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// Ending is how a guest ended.
type Ending string

// The endings. Package vmtest documents them.
const (
	EndingPoweroff Ending = "poweroff"
	EndingReboot   Ending = "reboot"
	EndingPanic    Ending = "panic"
	EndingKilled   Ending = "killed"
)

// Wait waits until the guest has gone and returns its ending. It does not close the
// machine.
func (m *Machine) Wait(ctx context.Context) (Ending, error) {
	ctx, cancel := deadline.BeforeEnd(ctx)
	defer cancel()
	for _, over := range []<-chan struct{}{m.Done(), m.eventsDone} {
		select {
		case <-over:
		case <-ctx.Done():
			return "", m.overdue(ctx, "wait for", fmt.Errorf("wait for the guest to go: %w", context.Cause(ctx)))
		}
	}
	m.consoleRead()
	return m.events.now().ending(), nil
}

// ending returns the ending of a machine that has gone. It depends on QEMU's events
// alone, because a unit can print anything on the console.
func (seen events) ending() Ending {
	switch {
	case seen.panicked, seen.shutdown == "guest-panic":
		return EndingPanic
	case seen.shutdown == "guest-shutdown":
		return EndingPoweroff
	case seen.shutdown == "guest-reset":
		return EndingReboot
	}
	return EndingKilled
}
