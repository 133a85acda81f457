package vm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
)

// unloadableError reports that QEMU refused to continue from a snapshot, or exited by itself
// before the guest did. An error of this process is none.
type unloadableError struct{ error }

func (e *unloadableError) Unwrap() error { return e.error }

// Fork returns a running copy of the machine that the snapshot was made of, with the
// right time and random numbers of its own. The caller closes it.
func (s *Snapshot) Fork(ctx context.Context, i Instance) (*Machine, error) {
	release, err := s.use()
	if err != nil {
		return nil, err
	}
	defer release()
	state, err := s.openState()
	if err != nil {
		return nil, HostError(fmt.Errorf("fork %s: %w", s.spec.image(), err))
	}
	defer state.Close()
	spec := s.spec
	spec.Instance = i
	var started starting
	ctx, cancel := deadline.Within(ctx, deadline.Limit{
		What: "no fork", Time: i.BootTimeout, Name: "Config.BootTimeout", Pace: started.Pace,
	})
	defer cancel()
	entries, err := s.entries()
	if err != nil {
		return nil, &unloadableError{err}
	}
	d := s.machine()
	d.Cables = i.Cables
	m, err := start(ctx, spec, d, entries)
	if err != nil {
		return nil, err
	}
	started.Store(m)
	if err := m.comeAlive(ctx, s, state); err != nil {
		inTime := ctx.Err() == nil
		err = m.bootError(ctx, "fork", err)
		if inTime && isClosed(m.Done()) && !m.wasKilled() {
			err = &unloadableError{err}
		}
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

// wasKilled reports whether another process has killed QEMU. SIGBUS comes from a memory
// file that is too short.
func (m *Machine) wasKilled() bool {
	if !isClosed(m.Done()) {
		return false
	}
	var exit *qemu.ExitError
	if !errors.As(m.process.Err(), &exit) {
		return false
	}
	status, ok := exit.State.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() != syscall.SIGBUS
}

// openState opens the devices' state again, because an inherited descriptor shares its
// position with those of all other forks. The caller closes the file.
func (s *Snapshot) openState() (*os.File, error) {
	state, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", s.files.State.Fd()))
	if err != nil {
		return nil, fmt.Errorf("open device state: %w", err)
	}
	return state, nil
}

// comeAlive resumes the copy from the devices' state and makes it a machine of its own.
func (m *Machine) comeAlive(ctx context.Context, s *Snapshot, state *os.File) error {
	seen := m.events.now()
	closed := seen.portClosed
	m.stream.used, m.stream.closed = true, seen.journalClosed
	m.pid1 = pid1Port{true, seen.systemdClosed}
	if err := m.loadDevices(ctx, state); err != nil {
		return err
	}
	w, err := m.wakeAfter(ctx, s.moment.Stopped)
	if err != nil {
		return err
	}
	if !s.moment.Stuck {
		if err := m.resumePID1(ctx, w); err != nil {
			return err
		}
	}
	opened := m.events.now().portOpened
	resume := func(ctx context.Context) (*link.Client, error) {
		return link.Resume(ctx, m.process.Link, s.moment.Session)
	}
	var client *link.Client
	// A recorded session needs no shakeHands: Resume exchanges nothing with the agent.
	if s.moment.Session.IsZero() {
		client, err = m.shakeHands(ctx, closed, resume)
	} else if client, err = resume(ctx); errors.Is(err, link.ErrNotReplayed) {
		client, closed, err = m.redial(ctx, opened)
	}
	if err != nil {
		return err
	}
	m.follow(client, closed)
	m.followJournal(m.stream.closed, time.Time{})
	if s.moment.Stuck {
		return m.wakeBy(ctx, client, w)
	}
	return nil
}

// redial shakes hands with an agent whose last session has ended, once it has opened its
// port more than opened times. closed is as for follow.
func (m *Machine) redial(ctx context.Context, opened int) (client *link.Client, closed int, err error) {
	conn, closed, err := m.reopen(ctx, opened)
	if err != nil {
		return nil, 0, err
	}
	client, err = m.shakeHands(ctx, closed, func(ctx context.Context) (*link.Client, error) { return link.Dial(ctx, conn) })
	return client, closed, err
}

// reopen gives the port of such an agent a new stream. closed is as for follow.
func (m *Machine) reopen(ctx context.Context, opened int) (conn net.Conn, closed int, err error) {
	if closed, err = m.events.waitPort(ctx, opened); err != nil {
		return nil, 0, fmt.Errorf("wait until the agent waits for a host: %w", err)
	}
	conn, err = m.rewire(ctx, qemu.LinkID)
	return conn, closed, err
}

// loadDevices loads the devices' state and resumes the guest.
func (m *Machine) loadDevices(ctx context.Context, state *os.File) error {
	err := m.prepareMigration(ctx, state, true)
	if err != nil {
		return err
	}
	if err = m.migrateIn(ctx); err == nil {
		if err = m.migrated(ctx); err == nil {
			err = m.monitor.Execute(ctx, "cont", nil, nil, nil)
		}
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, qmp.ErrClosed) {
		return &unloadableError{err}
	}
	return err
}

// wake tells the agent of a guest that has just booted what the guest cannot find out: the
// time, random numbers and its host name.
func (m *Machine) wake(ctx context.Context) error {
	w := m.wakeNow()
	w.UnixNano = uint64(time.Now().Add(m.Ahead()).UnixNano())
	return m.wakeBy(ctx, m.Session(), w)
}

// wakeBy wakes a guest through a session with its agent.
func (m *Machine) wakeBy(ctx context.Context, session *link.Client, w guest.Wake) error {
	if _, err := session.Control(ctx, guest.WakeRequest, ssh.Marshal(w)); err != nil {
		return fmt.Errorf("wake guest: %w", err)
	}
	return nil
}

// wakeAfter returns the same for a fork, once that runs. stopped is when the machine that this
// one was copied from was stopped.
func (m *Machine) wakeAfter(ctx context.Context, stopped time.Time) (guest.Wake, error) {
	w := m.wakeNow()
	if err := m.events.wait(ctx, func(seen events) bool { return !seen.resumed.IsZero() }); err != nil {
		return w, err
	}
	w.Asleep, w.Network = uint64(m.events.now().resumed.Add(m.Ahead()).Sub(stopped)), m.spec.Network
	return w, nil
}

func (m *Machine) wakeNow() guest.Wake {
	seed := make([]byte, guest.SeedSize)
	rand.Read(seed) // never fails (crypto/rand)
	return guest.Wake{Seed: string(seed), Hostname: m.spec.Hostname}
}
