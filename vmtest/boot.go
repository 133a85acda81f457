package vmtest

import (
	"context"
	"errors"
	"fmt"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/initrd"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
	"example.org/systemd-vmtest/vmtest/internal/tail"
)

// Launch returns a machine that has booted to systemd's "running". It builds the
// image when the cache has none. The caller closes the machine.
//
// A guest that does not get there is a *GuestError, a host that lacks something a
// *HostError.
func Launch(ctx context.Context, config Config) (*Machine, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	image, err := images.Open(ctx, config.Image, images.Options{Progress: config.Progress})
	if err != nil {
		return nil, err
	}
	m, err := start(ctx, config, image)
	if err != nil {
		return nil, err
	}
	bootCtx, cancel := context.WithTimeoutCause(ctx, config.BootTimeout,
		fmt.Errorf("not up within %v (VMTEST_TIMEOUT_SCALE stretches that)", config.BootTimeout))
	defer cancel()
	if err := m.boot(bootCtx); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// start runs QEMU on the image and connects the host's ends.
func start(ctx context.Context, config Config, image *images.Image) (*Machine, error) {
	agent, err := agentBinary(ctx, image.Arch)
	if err != nil {
		return nil, err
	}
	ramdisk, err := initrd.Build(initrd.Archive{
		Agent:      agent,
		ModulesDir: image.ModulesDir(),
		Modules:    image.Modules,
		Run:        map[string]string{"systemd/system/" + guest.AgentUnitName: guest.AgentUnit},
		RunLinks:   map[string]string{"systemd/system/sysinit.target.wants/" + guest.AgentUnitName: "../" + guest.AgentUnitName},
	})
	if err != nil {
		return nil, err
	}
	defer ramdisk.Close() // QEMU inherits a copy of the descriptor
	process, err := qemu.Start(qemu.Machine{
		Arch:       image.Arch,
		CPUs:       config.CPUs,
		Memory:     config.Memory,
		Kernel:     image.Kernel(),
		Initrd:     ramdisk,
		Cmdline:    kernelArgs(config),
		Root:       image.Root(),
		RootSerial: guest.RootSerial,
		PortName:   guest.PortName,
	})
	if err != nil {
		return nil, err
	}
	m := &Machine{
		config:      config,
		image:       image,
		process:     process,
		console:     tail.NewBuffer(consoleKept),
		ready:       make(chan struct{}),
		consoleDone: make(chan struct{}),
	}
	go m.readConsole()
	m.monitor, err = qmp.NewClient(ctx, process.Monitor)
	if err != nil {
		err = m.gone("start", err)
		m.Close()
		return nil, err
	}
	go m.watchEvents()
	return m, nil
}

func kernelArgs(config Config) []string {
	return append([]string{
		"quiet",
		"panic=-1", // with QEMU's -no-reboot: a panic ends the machine at once
	}, config.KernelArgs...)
}

// boot follows a machine from its first instruction to a systemd that runs.
func (m *Machine) boot(ctx context.Context) error {
	select {
	case <-m.ready:
	case <-m.Done():
		return m.guestError("boot", m.process.Err())
	case <-ctx.Done():
		return m.guestError("boot", fmt.Errorf("wait for the guest's agent: %w", context.Cause(ctx)))
	}
	if err := m.connect(ctx); err != nil {
		return err
	}
	state, err := m.waitSystemState(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if lost := m.gone("boot", err); lost != err {
			return lost
		}
		return m.guestError("boot", fmt.Errorf("wait for systemd: %w", err))
	}
	if state != "running" {
		return m.guestError("boot", m.explainState(ctx, state))
	}
	return nil
}

// connect opens a session with the guest's agent.
func (m *Machine) connect(ctx context.Context) error {
	client, err := link.Dial(ctx, m.process.Link)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		var gone *GuestError
		if lost := m.gone("connect to", err); errors.As(lost, &gone) {
			return lost
		}
		return m.guestError("connect to", err)
	}
	m.link = client
	return nil
}
