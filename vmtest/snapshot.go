package vmtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// Snapshot is a stopped machine: its memory, the state of its devices, and the session
// with its agent, each in a file. A fork maps the memory copy-on-write and loads
// nothing, so it costs what it takes to start QEMU, and forks share every page that
// none has written.
type Snapshot struct {
	config Config
	inputs *inputs
	files  *snapshots.Files // the memory has Config.Memory MiB and is sparse
	moment moment
}

// moment is what the host has to know of the moment in which a snapshot was made.
type moment struct {
	Stopped time.Time      `json:"stopped"`
	Session link.Handshake `json:"session"` // which the agent goes on with in a fork
}

// Snapshot ends the machine and returns a snapshot of it, which lives as long as
// this process at most: its files have no name. The machine may be a fork itself.
// The caller closes the snapshot.
func (m *Machine) Snapshot(ctx context.Context) (*Snapshot, error) {
	if err := m.config.noDisk("snapshot " + m.inputs.image.Name); err != nil {
		return nil, err
	}
	store, err := snapshots.OpenCached()
	if err != nil {
		return nil, err
	}
	files, err := store.Scratch(m.config.Memory)
	if err != nil {
		return nil, hostError(err)
	}
	if err := m.snapshotInto(ctx, files); err != nil {
		files.Close() // of no use, so of no interest
		return nil, hostError(err)
	}
	config := m.config
	config.Console, config.Hostname = nil, "" // those of the machine that was
	return newSnapshot(config, m.inputs, files)
}

// newSnapshot reads what a host has to know of the files, which it closes on an
// error.
func newSnapshot(config Config, in *inputs, files *snapshots.Files) (*Snapshot, error) {
	at, err := readMoment(files)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return &Snapshot{config: config, inputs: in, files: files, moment: at}, nil
}

func readMoment(files *snapshots.Files) (moment, error) {
	var at moment
	data := io.NewSectionReader(files.Moment, 0, 1<<20)
	if err := json.NewDecoder(data).Decode(&at); err != nil {
		return at, fmt.Errorf("read the moment of a snapshot: %w", err)
	}
	return at, nil
}

// Close gives up the files. Machines that were forked from them run on.
func (s *Snapshot) Close() error { return s.files.Close() }

// Launch returns a fork of the snapshot: a machine that goes on where the other was
// stopped, with the right time and random numbers of its own. What of config makes
// the guest, such as its memory, is the snapshot's; the rest is the fork's. When the
// host is busy with other machines it waits for its turn. The caller closes the
// machine.
func (s *Snapshot) Launch(ctx context.Context, config Config) (*Machine, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	return launchInSlot(ctx, s.forkConfig(config), func() (*Machine, error) { return s.fork(ctx, config) })
}

// forkConfig is the snapshot's own, with what of config makes a fork.
func (s *Snapshot) forkConfig(config Config) Config {
	c := s.config
	c.Hostname, c.BootTimeout, c.OpTimeout = config.Hostname, config.BootTimeout, config.OpTimeout
	c.Console, c.Progress = config.Console, config.Progress
	return c
}

// snapshotTime bounds the making of a snapshot.
const snapshotTime = time.Minute

// snapshotInto ends the machine and leaves a snapshot of it in empty files.
//
// QEMU writes memory into the file only of a machine that runs on that file, and
// this one need not. So the machine is first moved, the way of a live migration,
// to a second QEMU whose memory the file is; that one never runs, and hands out
// its device state alone.
func (m *Machine) snapshotInto(ctx context.Context, files *snapshots.Files) error {
	defer m.Close()
	ctx, cancel := within(ctx, limit{what: "no snapshot", time: snapshotTime})
	defer cancel()
	at, session, err := m.quiesce(ctx)
	if session != nil {
		defer session.Close() // once the snapshot is made: it would say goodbye to the agent
	}
	if err != nil {
		return m.verdict(ctx, "snapshot", err)
	}
	if err := json.NewEncoder(files.Moment).Encode(at); err != nil {
		return fmt.Errorf("snapshot: write down its moment: %w", err)
	}
	if err := files.RAM.Truncate(int64(m.config.Memory) << 20); err != nil {
		return fmt.Errorf("snapshot: make room for memory: %w", err)
	}
	d := description(m.config, m.inputs)
	d.RAM = &qemu.RAM{File: files.RAM}
	d.Incoming = true
	still, err := start(ctx, Config{}, m.inputs, d)
	if err != nil {
		return err
	}
	defer still.Close()
	failed, err := m, m.moveTo(ctx, still)
	if err == nil {
		failed, err = still, still.saveDevices(ctx, files.State)
	}
	switch {
	case err == nil:
		return nil
	case snapshots.IsFull(files.RAM):
		// Others took the room meanwhile. QEMU's own account of it is a SIGBUS or
		// an input/output error.
		return fmt.Errorf("snapshot %s: %w: %w", m.inputs.image.Name, unix.ENOSPC, err)
	}
	return failed.verdict(ctx, "snapshot", err)
}

// quiesce brings the guest to a point that is good to begin from, and stops it: the
// clock right, nothing half-written in the journal, and the agent in a session that
// is open and has nothing going on. That session is not the machine's: one byte more
// from a goroutine that asks for something, and no fork could take it up.
func (m *Machine) quiesce(ctx context.Context) (at moment, session *link.Client, err error) {
	if err := m.wake(ctx, time.Time{}); err != nil {
		return at, nil, err
	}
	for _, args := range [][]string{
		{"journalctl", "--sync"},
		// What every command needs is read from the disk once and for all forks.
		{"true"},
	} {
		if _, err := m.Run(ctx, Command{Args: args}); err != nil {
			return at, nil, err
		}
	}
	m.manager.close()
	opened := m.events.now().portOpened
	m.session().Close()
	err = m.events.wait(ctx, func(seen eventCount) bool { return seen.portOpened > opened })
	if err != nil {
		return at, nil, fmt.Errorf("wait for the agent to wait for a host: %w", err)
	}
	conn, err := m.rewire(ctx)
	if err != nil {
		return at, nil, err
	}
	session, recorded, err := link.DialRecorded(ctx, conn)
	if err != nil {
		return at, nil, err
	}
	if err := m.monitor.Execute(ctx, "stop", nil, nil, nil); err != nil {
		return at, session, err
	}
	err = m.events.wait(ctx, func(seen eventCount) bool { return !seen.stopped.IsZero() })
	return moment{Stopped: m.events.now().stopped, Session: recorded}, session, err
}

// fork returns a running copy of the machine that the snapshot was made of.
func (s *Snapshot) fork(ctx context.Context, config Config) (*Machine, error) {
	if err := config.noDisk("fork " + s.inputs.image.Name); err != nil {
		return nil, err
	}
	c := s.forkConfig(config)
	ctx, cancel := within(ctx, limit{"no fork", c.BootTimeout, "Config.BootTimeout"})
	defer cancel()
	m, err := start(ctx, c, s.inputs, s.description())
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

// description is a fork as QEMU is to make it.
func (s *Snapshot) description() qemu.Machine {
	d := description(s.config, s.inputs)
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
	w := guest.Wake{Seed: string(seed), Hostname: m.config.Hostname}
	if stopped.IsZero() {
		w.UnixNano = uint64(time.Now().UnixNano())
	} else {
		err := m.events.wait(ctx, func(seen eventCount) bool { return !seen.resumed.IsZero() })
		if err != nil {
			return err
		}
		w.Asleep = uint64(m.events.now().resumed.Sub(stopped))
	}
	if _, err := m.session().Control(ctx, guest.WakeRequest, ssh.Marshal(w)); err != nil {
		return fmt.Errorf("wake guest: %w", err)
	}
	return nil
}
