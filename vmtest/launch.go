package vmtest

import (
	"context"
	"errors"
)

// Launch returns a machine whose systemd is "running": a fork of the snapshot that
// is kept for such machines, or, with Config.ColdBoot, one that has booted for
// this call. It builds the image and makes the snapshot when the cache has none.
// When the host is busy with other machines it waits for its turn. The caller closes
// the machine.
//
// A guest that does not get there is a *GuestError, a host that lacks something a
// *HostError.
func Launch(ctx context.Context, config Config) (*Machine, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	return launchInSlot(ctx, config, func() (*Machine, error) { return launch(ctx, config) })
}

// launchInSlot waits for a slot, which is the machine's until that is closed.
func launchInSlot(ctx context.Context, config Config, launch func() (*Machine, error)) (m *Machine, err error) {
	slot, err := acquireSlot(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() {
		if m == nil { // also when launch ended the goroutine, as a test's FailNow does
			err = errors.Join(err, slot.Close())
		}
	}()
	if m, err = launch(); err != nil {
		return nil, err
	}
	m.slot = slot
	return m, nil
}

// launch is Launch for a complete configuration and a caller who holds a slot.
func launch(ctx context.Context, config Config) (*Machine, error) {
	in, err := findInputs(ctx, config)
	if err != nil {
		return nil, err
	}
	if talkative() {
		in.noticeTCG(config)
	}
	if config.ColdBoot {
		return boot(ctx, config, in)
	}
	s, err := baseSnapshot(ctx, config, in)
	if err != nil {
		return nil, err
	}
	return s.fork(ctx, config)
}
