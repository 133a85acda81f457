package vmtest

import (
	"context"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/slots"
)

// holders are the slots of this process.
var holders slots.Holders

// acquireSlot waits for a slot among the machines of this user: for the test of that name,
// or for a machine that no test starts if it is "". The caller releases the hold.
func acquireSlot(ctx context.Context, test string, c Config) (*slots.Hold, error) {
	cache, err := host.Cache("")
	if err != nil {
		return nil, err
	}
	queue, err := slots.HostQueue(cache, c.Memory)
	if err != nil {
		return nil, err
	}
	return holders.Acquire(ctx, slots.Request{Queue: queue, Name: test, Notice: func(text string) { c.notice(text + heldText()) }})
}
