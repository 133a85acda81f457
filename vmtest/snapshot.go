package vmtest

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/vmtest/internal/vm"
)

// Snapshot is a stopped machine that can be forked. A fork maps the machine's memory
// copy-on-write and loads nothing, so it costs what it takes to start QEMU.
type Snapshot struct {
	snapshot *vm.Snapshot
	config   Config
	tested   []string // units under test
}

// Snapshot ends the machine and returns a snapshot of it. The machine may be a fork itself,
// and must still be closed. It leaves its networks before. One with a Config.Disk has no
// snapshot. Making it has a timeout of a minute. The snapshot ends with this process, or when the caller closes it.
func (m *Machine) Snapshot(ctx context.Context) (*Snapshot, error) {
	if err := m.collectCoverage(ctx); err != nil {
		return nil, err
	}
	if err := m.leaveNetworks(ctx); err != nil {
		return nil, public(err)
	}
	s, err := m.vm.Snapshot(ctx)
	if err != nil {
		return nil, public(err)
	}
	config := m.config
	// Those of the machine that was.
	config.Console, config.Hostname, config.Clock = nil, "", time.Time{}
	config.Networks, config.network = nil, ""
	return &Snapshot{s, config, m.announced.allTested()}, nil
}

// Close gives up the snapshot when no fork is being started from it. Machines that were forked
// run on, and a later Launch or Start is an error. Further calls do nothing.
func (s *Snapshot) Close() error { return s.snapshot.Close() }

// ForkConfig is the part of a Config that each fork of a snapshot has for itself. A zero
// BootTimeout, OpTimeout or Progress is that of the snapshot's machine. An empty Hostname
// leaves the guest the name it has.
type ForkConfig struct {
	Hostname    string
	Networks    []*Network    // no more than the machine has network interfaces
	Clock       time.Time     // what its wall clock shows at its start; zero is the host's time
	BootTimeout time.Duration // bounds the fork, and a later reboot
	OpTimeout   time.Duration // bounds each call of a Guest's method
	Console     io.Writer     // nil is none
	Progress    func(images.Progress)
}

// Launch returns a fork of the snapshot: a machine that goes on where the other was
// stopped, with the right time and random numbers of its own. A timer that became due by
// the wall clock meanwhile (OnCalendar= of systemd.timer(5)) elapses in the fork. Launch
// waits for a slot if other machines use the host. The caller closes the machine.
func (s *Snapshot) Launch(ctx context.Context, f ForkConfig) (*Machine, error) {
	config, err := s.forkConfig(f)
	if err != nil {
		return nil, err
	}
	return launchInSlot(ctx, config, s.fork)
}

// Start gives a test a fork of the snapshot, as the function Start gives it a machine.
func (s *Snapshot) Start(t testing.TB, f ForkConfig) *Guest {
	t.Helper()
	skip(t)
	config, err := s.forkConfig(f)
	if err != nil {
		t.Fatal(err)
	}
	return startGuest(t, config, s.fork)
}

// forkConfig is the snapshot's own, with what f sets.
func (s *Snapshot) forkConfig(f ForkConfig) (Config, error) {
	c := s.config
	c.Hostname, c.Clock, c.Console, c.Networks = f.Hostname, f.Clock, f.Console, f.Networks
	if len(c.Networks) > c.NICs {
		return c, fmt.Errorf("fork a snapshot: %d networks for %d network interfaces of its machine: set Config.NICs", len(c.Networks), c.NICs)
	}
	if f.BootTimeout != 0 {
		c.BootTimeout = f.BootTimeout
	}
	if f.OpTimeout != 0 {
		c.OpTimeout = f.OpTimeout
	}
	if f.Progress != nil {
		c.Progress = f.Progress
	}
	return c.complete()
}

// fork returns a fork. The caller holds a slot.
func (s *Snapshot) fork(ctx context.Context, config Config) (*Machine, error) {
	m, err := s.snapshot.Fork(ctx, config.instance())
	if err != nil {
		return nil, public(err)
	}
	fork := newMachine(m, config)
	fork.announced.setTested(s.tested)
	return fork.resumed(ctx)
}
