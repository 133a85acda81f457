package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// Snapshot is a stopped machine: its memory, the state of its devices, and the session
// with its agent, each in a file. A fork maps the memory copy-on-write and loads
// nothing, so it costs what it takes to start QEMU, and forks share every page that
// none has written.
type Snapshot struct {
	spec   Spec
	files  *snapshots.Files // the memory has Spec.Memory MiB and is sparse
	moment moment
}

// moment is what the host has to know of the moment in which a snapshot was made.
type moment struct {
	Stopped time.Time      `json:"stopped"`
	Journal systemd.Moment `json:"journal"` // the end of the journal
	Session link.Handshake `json:"session"` // which the agent goes on with in a fork
}

// Snapshot ends the machine and returns a snapshot of it. The files have no name, so they
// live as long as this process at most. The machine may be a fork itself. The caller
// closes the snapshot.
func (m *Machine) Snapshot(ctx context.Context) (*Snapshot, error) {
	if err := m.spec.noDisk("snapshot " + m.spec.image()); err != nil {
		return nil, err
	}
	store, err := snapshots.OpenCached()
	if err != nil {
		return nil, err
	}
	files, err := store.Scratch(m.spec.Memory)
	if err != nil {
		return nil, HostError(err)
	}
	if err := m.snapshotInto(ctx, files); err != nil {
		files.Close() // the error of the snapshot says more
		return nil, HostError(err)
	}
	s := m.spec
	s.Console, s.Hostname = nil, "" // those of the machine that was
	return newSnapshot(s, files)
}

// newSnapshot reads what a host has to know of the files, which it closes on an
// error.
func newSnapshot(s Spec, files *snapshots.Files) (*Snapshot, error) {
	at, err := readMoment(files)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return &Snapshot{spec: s, files: files, moment: at}, nil
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
	ctx, cancel := deadline.Within(ctx, deadline.Limit{What: "no snapshot", Time: snapshotTime})
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
	if err := files.RAM.Truncate(int64(m.spec.Memory) << 20); err != nil {
		return fmt.Errorf("snapshot: make room for memory: %w", err)
	}
	d := m.spec.machine()
	d.RAM = &qemu.RAM{File: files.RAM}
	d.Incoming = true
	still, err := start(ctx, Spec{Files: m.spec.Files}, d)
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
		return fmt.Errorf("snapshot %s: %w: %w", m.spec.image(), unix.ENOSPC, err)
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
	if at.Journal, err = m.journalEnd(ctx); err != nil {
		return at, nil, err
	}
	// It reads from the disk, once for all forks, what every command needs.
	if err := m.run(ctx, "true"); err != nil {
		return at, nil, fmt.Errorf("run true: %w", err)
	}
	m.Systemd.Close()
	opened := m.events.now().portOpened
	m.Session().Close()
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
	at.Stopped, at.Session = m.events.now().stopped, recorded
	return at, session, err
}
