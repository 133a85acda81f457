package vm

import (
	"context"
	"fmt"
	"math"
	"strings"
)

// Ending is how a guest went.
type Ending string

// The endings. vmtest documents them.
const (
	EndingPoweroff Ending = "poweroff"
	EndingReboot   Ending = "reboot"
	EndingPanic    Ending = "panic"
	EndingKilled   Ending = "killed"
)

// Wait waits until the guest has gone and returns how. It does not close the machine.
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

// ending returns the ending of a machine that has gone.
func (m *Machine) ending() Ending {
	switch m.events.now().shutdown {
	case "guest-shutdown":
		return EndingPoweroff
	case "guest-reset", "guest-panic":
		if strings.Contains(consoleCause(m.console.Lines(math.MaxInt)), "panicked") {
			return EndingPanic
		}
		return EndingReboot
	}
	return EndingKilled
}
