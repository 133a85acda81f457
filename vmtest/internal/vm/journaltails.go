package vm

import (
	"context"
	"errors"

	"example.org/systemd-vmtest/vmtest/internal/journal"
)

var (
	errStreamEnded = errors.New("the journal's stream ended")
	errStreamStill = errors.New("the journal's stream stands still")
)

// waitTailsOrStill is waitTails. It returns errStreamStill if no entry comes for a while.
//
// A journalctl that looks while journald adds an entry may take the entry for none, and then
// not look again before there is another one, however often it is woken: seen with systemd 257
// and 262, in one of some hundred entries where the journal's file was touched all the time.
func (m *Machine) waitTailsOrStill(ctx context.Context, places []journal.Place, closed int) error {
	for {
		came := m.journal.Len()
		limited, cancel := context.WithTimeoutCause(ctx, m.stream.overdue, errStreamStill)
		err := m.waitTails(limited, places, closed)
		cancel()
		if !errors.Is(err, errStreamStill) || m.journal.Len() == came {
			return err
		}
	}
}

// waitTails waits until the entries at these places have arrived. It returns errStreamEnded
// if the port is closed more than closed times before that.
func (m *Machine) waitTails(ctx context.Context, places []journal.Place, closed int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if m.events.wait(ctx, func(seen events) bool { return seen.journalClosed > closed }) == nil {
			cancel(errStreamEnded)
		}
	}()
	return m.journal.WaitTails(ctx, places)
}
