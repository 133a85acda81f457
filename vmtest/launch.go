package vmtest

import (
	"context"
	"errors"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/boot"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/slots"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// Launch returns a machine whose systemd is "running": a fork of the snapshot that the
// cache keeps of such machines, or with Config.ColdBoot one that has booted for this call.
// It builds the image and makes the snapshot if the cache lacks them, and waits for a slot
// if other machines use the host. The caller closes the machine.
//
// A guest that does not get there is a *[GuestError], a host that lacks something a
// *[HostError].
func Launch(ctx context.Context, config Config) (*Machine, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	return launchInSlot(ctx, config, launch)
}

// launchInSlot waits for a slot, which the machine holds until it is closed.
func launchInSlot(ctx context.Context, config Config, launch launcher) (m *Machine, err error) {
	ctx, cancel := deadline.BeforeEnd(ctx)
	defer cancel()
	slot, err := acquireSlot(ctx, "", config)
	if err != nil {
		return nil, err
	}
	defer func() {
		if m == nil { // also if launch ended the goroutine, as a test's FailNow does
			err = errors.Join(err, slot.Release())
		}
	}()
	if m, err = launch.inNetworks(slots.WithHold(ctx, slot), config); err != nil {
		return nil, err
	}
	m.slot = slot
	return m, nil
}

// launch is Launch for a complete configuration. The caller holds a slot.
func launch(ctx context.Context, config Config) (*Machine, error) {
	spec, err := config.spec(ctx)
	if err != nil {
		return nil, err
	}
	m, err := start(ctx, config, spec)
	if err != nil {
		return nil, public(err)
	}
	if config.Disk != nil { // which may have programs
		return newMachine(m, config).resumed(ctx)
	}
	return newMachine(m, config), nil
}

func start(ctx context.Context, config Config, spec vm.Spec) (*vm.Machine, error) {
	if config.ColdBoot {
		return vm.Boot(ctx, spec)
	}
	return vm.ForkBase(ctx, spec)
}

// spec describes the machine to package vm. It opens what the machine boots from.
func (c Config) spec(ctx context.Context) (vm.Spec, error) {
	files, err := boot.Open(ctx, boot.Options{Image: c.image(), Untrimmed: c.Untrimmed, Progress: c.Progress, Notice: c.notice})
	if err != nil {
		return vm.Spec{}, vm.HostError(err)
	}
	s := vm.Spec{Files: files, Memory: c.Memory, CPUs: c.CPUs, KernelArgs: c.KernelArgs, NICs: c.NICs, Instance: c.instance()}
	if c.Disk != nil {
		s.Disk = c.Disk.disk
	}
	return s, nil
}

func (c Config) image() images.Spec {
	return images.Spec{
		Base: c.Image, Recipe: c.Recipe, Packages: c.Packages, Debs: c.Debs, NoAutostart: c.NoAutostart, Sources: c.Sources,
	}
}

func (c Config) instance() vm.Instance {
	return vm.Instance{
		Hostname: c.Hostname, Network: c.network, Clock: c.Clock,
		BootTimeout: c.BootTimeout, Console: c.Console, Notice: c.notice,
	}
}
