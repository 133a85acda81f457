package vmtest

import "context"

// Launch returns a machine whose systemd is "running": a fork of the snapshot that
// is kept for such machines, or, with Config.ColdBoot, one that has booted for
// this call. It builds the image and makes the snapshot when the cache has none.
// The caller closes the machine.
//
// A guest that does not get there is a *GuestError, a host that lacks something a
// *HostError.
func Launch(ctx context.Context, config Config) (*Machine, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	in, err := findInputs(ctx, config)
	if err != nil {
		return nil, err
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
