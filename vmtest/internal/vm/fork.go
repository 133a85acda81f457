package vm

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// Fork returns a running copy of the machine that the snapshot was made of, with the
// right time and random numbers of its own. The caller closes it.
func (s *Snapshot) Fork(ctx context.Context, i Instance) (*Machine, error) {
	spec := s.spec
	spec.Instance = i
	ctx, cancel := deadline.Within(ctx, deadline.Limit{What: "no fork", Time: i.BootTimeout, Name: "Config.BootTimeout"})
	defer cancel()
	m, err := start(ctx, spec, s.machine())
	if err != nil {
		return nil, err
	}
	if err := m.comeAlive(ctx, s); err != nil {
		err = m.verdict(ctx, "fork", err)
		m.Close()
		return nil, err
	}
	return m, nil
}

// Restore returns a copy that runs, of which nothing is asked: Fork without its agent.
func (s *Snapshot) Restore(ctx context.Context) (*Machine, error) {
	m, err := start(ctx, s.spec, s.machine())
	if err != nil {
		return nil, err
	}
	if err := m.loadDevices(ctx, s.files.State); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// machine describes a fork to QEMU.
func (s *Snapshot) machine() qemu.Machine {
	d := s.spec.machine()
	d.RAM = &qemu.RAM{File: s.files.RAM, Private: true}
	d.Incoming = true
	return d
}

// comeAlive lets the copy run and makes it a machine of its own.
func (m *Machine) comeAlive(ctx context.Context, s *Snapshot) error {
	if err := m.loadDevices(ctx, s.files.State); err != nil {
		return err
	}
	client, err := link.Resume(ctx, m.process.Link, s.moment.Session)
	if err != nil {
		return err
	}
	m.origin = s.moment.Journal
	m.follow(client)
	return m.wake(ctx, s.moment.Stopped)
}

// loadDevices loads the devices' state and lets the guest run.
func (m *Machine) loadDevices(ctx context.Context, state *os.File) error {
	// A descriptor of its own: one that is inherited shares its position with all
	// other forks.
	own, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", state.Fd()))
	if err != nil {
		return fmt.Errorf("open device state: %w", err)
	}
	defer own.Close()
	if err := m.migrateIn(ctx, own, true); err != nil {
		return err
	}
	if err := m.migrated(ctx); err != nil {
		return err
	}
	return m.monitor.Execute(ctx, "cont", nil, nil, nil)
}

// wake tells the guest's agent what a machine cannot know by itself: one that has
// just booted (stopped is zero), or a copy of one that was stopped then.
func (m *Machine) wake(ctx context.Context, stopped time.Time) error {
	seed := make([]byte, 64)
	rand.Read(seed) // never fails (crypto/rand)
	w := guest.Wake{Seed: string(seed), Hostname: m.spec.Hostname}
	if stopped.IsZero() {
		w.UnixNano = uint64(time.Now().UnixNano())
	} else {
		err := m.events.wait(ctx, func(seen eventCount) bool { return !seen.resumed.IsZero() })
		if err != nil {
			return err
		}
		w.Asleep = uint64(m.events.now().resumed.Sub(stopped))
	}
	if _, err := m.Session().Control(ctx, guest.WakeRequest, ssh.Marshal(w)); err != nil {
		return fmt.Errorf("wake guest: %w", err)
	}
	return nil
}
