package vmtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
)

// boot returns a machine that has booted from nothing to systemd's "running".
func boot(ctx context.Context, config Config, in *inputs) (*Machine, error) {
	in.noticeTCG(config) // a boot takes so long that one wonders why
	ctx, cancel := within(ctx, limit{"not up", config.BootTimeout, "Config.BootTimeout"})
	defer cancel()
	m, err := start(ctx, config, in, description(config, in))
	if err != nil {
		return nil, err
	}
	if err := m.bootUp(ctx); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// description is the machine as QEMU is to make it.
func description(config Config, in *inputs) qemu.Machine {
	return qemu.Machine{
		Arch:       in.image.Arch,
		Accel:      in.accel,
		CPUs:       config.CPUs,
		Memory:     config.Memory,
		Kernel:     in.kernel,
		Initrd:     in.initrd,
		Cmdline:    kernelArgs(config, in),
		Root:       in.root,
		RootSerial: guest.RootSerial,
		PortName:   guest.PortName,
	}
}

func kernelArgs(config Config, in *inputs) []string {
	args := []string{
		"quiet",
		"panic=-1", // with QEMU's -no-reboot: a panic ends the machine at once
	}
	if config.Disk != nil {
		args = append(args, guest.DiskArg)
	}
	return slices.Concat(args, in.kernelArgs, config.KernelArgs)
}

// start runs QEMU and connects the host's ends.
func start(ctx context.Context, config Config, in *inputs, d qemu.Machine) (*Machine, error) {
	run := qemu.Start
	if config.Disk != nil {
		run = func(d qemu.Machine) (*qemu.Process, error) { return config.Disk.run(in.image, d) }
	}
	process, err := run(d)
	if err != nil {
		return nil, hostError(err)
	}
	m := &Machine{
		config:      config,
		inputs:      in,
		process:     process,
		console:     tail.NewBuffer(consoleKept),
		events:      newEventLog(),
		began:       time.Now(),
		consoleDone: make(chan struct{}),
		eventsDone:  make(chan struct{}),
	}
	go m.readConsole()
	m.monitor, err = qmp.NewClient(ctx, process.Monitor)
	if err != nil {
		close(m.eventsDone)
		err = m.gone("start", err)
		m.Close()
		return nil, err
	}
	go func() {
		defer close(m.eventsDone)
		m.events.follow(m.monitor.Events())
	}()
	return m, nil
}

// bootUp follows a machine from its first instruction to a systemd that runs.
func (m *Machine) bootUp(ctx context.Context) error {
	err := m.events.wait(ctx, func(seen eventCount) bool { return seen.portOpened > 0 })
	if err != nil {
		return m.verdict(ctx, "boot", fmt.Errorf("wait for the guest's agent: %w", err))
	}
	return m.settle(ctx, "boot", m.process.Link)
}

// settle connects to the agent of a system that has just booted, over conn, and
// waits until systemd runs.
func (m *Machine) settle(ctx context.Context, doing string, conn net.Conn) error {
	if err := m.connect(ctx, conn); err != nil {
		return m.verdict(ctx, doing, err)
	}
	state, err := m.waitSystemState(ctx)
	if err != nil {
		return m.verdict(ctx, doing, fmt.Errorf("wait for systemd: %w", err))
	}
	if state != "running" {
		return m.verdict(ctx, doing, m.explainState(ctx, state))
	}
	// The same as for a fork, so that both are alike to a test.
	if err := m.wake(ctx, time.Time{}); err != nil {
		return m.verdict(ctx, doing, err)
	}
	return nil
}

// connect opens a session with the guest's agent over conn, which it owns.
func (m *Machine) connect(ctx context.Context, conn net.Conn) error {
	client, err := link.Dial(ctx, conn)
	if err != nil {
		return fmt.Errorf("connect to the guest's agent: %w", err)
	}
	m.follow(client)
	return nil
}

// follow makes client the machine's session until the guest closes its end.
func (m *Machine) follow(client *link.Client) {
	m.linkMu.Lock()
	m.link = client
	m.linkMu.Unlock()
	// The stream to QEMU stays open when the guest's end of it closes.
	closed := m.events.now().portClosed
	go func() {
		m.events.wait(context.Background(), func(seen eventCount) bool { return seen.portClosed > closed })
		client.Close()
	}()
}

// verdict is the *GuestError of a machine that did not come up because of err.
func (m *Machine) verdict(ctx context.Context, doing string, err error) error {
	if errors.As(err, new(*GuestError)) { // of a command that was part of it
		return fmt.Errorf("%s %s: %w", doing, m.inputs.image.Name, err)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	var gone *GuestError
	if lost := m.gone(doing, err); errors.As(lost, &gone) {
		return lost
	}
	if err = m.overdue(ctx, doing, err); errors.As(err, &gone) {
		return err
	}
	return m.guestError(doing, err)
}
