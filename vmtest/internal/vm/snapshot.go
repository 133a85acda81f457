package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/memo"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/qmp"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// Snapshot is a stopped machine: its memory, the state of its devices, and the session
// with its agent, each in a file. A fork maps the memory copy-on-write and loads none of
// it. So a fork takes as long as starting QEMU, and forks share each page that none of
// them has written.
type Snapshot struct {
	spec   Spec
	moment moment

	restored memo.Memo[struct{}, *journal.Store]

	using  sync.RWMutex     // read-locked while a fork uses the files
	files  *snapshots.Files // the memory has Spec.Memory MiB and is sparse
	closed bool
}

// moment is what the host needs of the moment in which a snapshot was made.
type moment struct {
	Stopped time.Time      `json:"stopped"`
	Journal journal.Record `json:"journal"` // up to the moment
	Session link.Handshake `json:"session"` // the session that the agent of a fork is in
	Next    systemd.Elapse `json:"next"`    // what systemd starts next by the clock
	// Stuck says that PID 1 did not answer. The session wakes the fork then.
	Stuck bool `json:"stuck,omitempty"`
}

// overdue returns an error if a fork of now would begin with a timer that elapses, which
// no machine does that has just booted.
func (at moment) overdue(now time.Time) error {
	if at.Next.At.IsZero() || now.Before(at.Next.At) {
		return nil
	}
	return fmt.Errorf("its %s would elapse in each fork, because %s has passed", at.Next.Timer, at.Next.At.UTC().Format("2006-01-02 15:04:05 MST"))
}

// Snapshot ends the machine and returns a snapshot of it. The files have no name, so they
// live as long as this process at most. The machine may be a fork itself. The caller
// closes the snapshot. If ctx has ended already, Snapshot returns an error and the machine
// runs on.
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
	if err := m.snapshotTo(ctx, files, stopping{prepare: m.settleDown}); err != nil {
		files.Close() // the error of the snapshot says more
		return nil, HostError(err)
	}
	s := m.spec
	s.Console, s.Hostname, s.Network, s.Clock = nil, "", "", time.Time{} // each fork has its own
	return newSnapshot(s, files)
}

// newSnapshot reads the moment in the files. It closes the files on an error.
func newSnapshot(s Spec, files *snapshots.Files) (*Snapshot, error) {
	at, err := readMoment(files)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return &Snapshot{spec: s, files: files, moment: at}, nil
}

// maxMoment bounds a moment, in bytes. Most of it is the journal.
const maxMoment = 64 << 20

// entries returns the entries of the journal up to the moment, for one fork.
func (s *Snapshot) entries() (*journal.Store, error) {
	entries, err := s.restored.Get(context.Background(), struct{}{}, func() (*journal.Store, error) {
		return journal.Restore(s.moment.Journal)
	})
	if err != nil {
		return nil, err
	}
	return entries.Clone(), nil
}

func readMoment(files *snapshots.Files) (moment, error) {
	var at moment
	data := io.NewSectionReader(files.Moment, 0, maxMoment)
	if err := json.NewDecoder(data).Decode(&at); err != nil {
		return at, fmt.Errorf("read the moment of a snapshot: %w", err)
	}
	return at, nil
}

// Close closes the files when no fork is in progress. Machines that were forked from them
// run on. Further calls do nothing.
func (s *Snapshot) Close() error {
	s.using.Lock()
	defer s.using.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.files.Close()
}

// use keeps the files open until the caller calls release. It returns an error if they are
// closed.
func (s *Snapshot) use() (release func(), err error) {
	s.using.RLock()
	if s.closed {
		s.using.RUnlock()
		return nil, fmt.Errorf("fork %s: the snapshot is closed", s.spec.image())
	}
	return s.using.RUnlock, nil
}

// snapshotTime bounds how long a snapshot takes to make.
const snapshotTime = time.Minute

// snapshotTo is snapshotInto for a machine that others may use.
func (m *Machine) snapshotTo(ctx context.Context, files *snapshots.Files, how stopping) error {
	release, err := m.hold(ctx, "snapshot")
	if err != nil {
		return err
	}
	defer release()
	return m.snapshotInto(ctx, files, how)
}

// snapshotInto ends the machine and writes a snapshot of it into empty files.
//
// QEMU keeps memory in a file only for a machine that runs on that file, and this one may
// not. So the machine is first migrated to a second QEMU whose memory is the file. The
// second QEMU never runs the guest. It writes the devices' state without the memory.
func (m *Machine) snapshotInto(ctx context.Context, files *snapshots.Files, how stopping) error {
	defer m.closeBy("Snapshot")
	if err := files.CheckRoom(m.spec.Memory); err != nil {
		return err
	}
	ctx, cancel := deadline.Within(ctx, deadline.Limit{What: "no snapshot", Time: snapshotTime, Pace: m.Pace})
	defer cancel()
	at, hostEnd, err := m.quiesce(ctx, how)
	if hostEnd != nil {
		defer hostEnd.Close() // not earlier, because the agent would see the end
	}
	if err != nil {
		return m.bootError(ctx, "snapshot", err)
	}
	if err := files.RAM.Truncate(int64(m.spec.Memory) << 20); err != nil {
		return fmt.Errorf("snapshot: make room for memory: %w", err)
	}
	d := m.spec.machine()
	d.RAM = &qemu.RAM{File: files.RAM}
	d.Incoming = true
	still, err := start(ctx, Spec{Files: m.spec.Files}, d, nil)
	if err != nil {
		return err
	}
	defer still.Close()
	if err := m.moveTo(ctx, still); err != nil {
		if full := files.Full(); full != nil {
			return fmt.Errorf("snapshot %s: %w: %w", m.spec.image(), full, err)
		}
		return m.bootError(ctx, "snapshot", err)
	}
	if err := still.saveDevices(ctx, files.State); err != nil {
		if full := files.Full(); full != nil {
			return fmt.Errorf("snapshot %s: %w: %w", m.spec.image(), full, err)
		}
		return still.saveError(m.spec.image(), err)
	}
	m.closeBy("Snapshot")
	if err := m.journalRead(ctx); err != nil {
		return fmt.Errorf("snapshot %s: %w", m.spec.image(), err)
	}
	if at.Journal, err = m.journal.Record(); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := json.NewEncoder(files.Moment).Encode(at); err != nil {
		return fmt.Errorf("snapshot: write moment: %w", err)
	}
	return nil
}

// saveError returns err, of a QEMU that has not run the guest, with what that QEMU printed.
func (m *Machine) saveError(image string, err error) error {
	if errors.Is(err, qmp.ErrClosed) {
		// What it printed last comes a moment after the end of its monitor.
		select {
		case <-m.Done():
		case <-time.After(exitTime):
		}
	}
	if text := m.process.Stderr(); text != "" {
		err = fmt.Errorf("%w; QEMU printed: %s", err, tail.Printable(text))
	}
	return fmt.Errorf("snapshot %s: save devices: %w", image, err)
}

// settleDown brings the guest to a point that many tests can begin from: the clock is right,
// and nothing is left to do.
func (m *Machine) settleDown(ctx context.Context) error {
	m.clock.change(0)
	if err := m.wake(ctx); err != nil {
		return err
	}
	// udev still handles devices when systemd is "running", and each fork would go on with
	// that. An image without udev has nothing to settle.
	if err := m.run(ctx, "udevadm", "settle"); err != nil && !errors.As(err, new(*link.StartError)) {
		return fmt.Errorf("run udevadm settle: %w", err)
	}
	if err := m.SyncJournal(ctx); err != nil {
		return err
	}
	// It reads what every command needs from the disk, so that no fork has to.
	if err := m.run(ctx, "true"); err != nil {
		return fmt.Errorf("run true: %w", err)
	}
	return nil
}

// stopping says how a guest is stopped for a snapshot.
type stopping struct {
	prepare func(context.Context) error // called first
	stuck   bool                        // PID 1 does not answer, and is not asked
}

// quiesce stops the guest at a point that forks can begin from: the agent is in a session that
// is open and idle. That session is not the machine's, because another goroutine could use that one, and
// after one more byte no fork can resume it. If this host cannot repeat the session, the
// agent waits for a host instead. hostEnd is this host's end of the link.
func (m *Machine) quiesce(ctx context.Context, how stopping) (at moment, hostEnd io.Closer, err error) {
	if err := how.prepare(ctx); err != nil {
		return at, nil, err
	}
	if at.Stuck = how.stuck; !at.Stuck {
		if at.Next, err = m.Systemd.NextElapse(ctx); err != nil {
			return at, nil, fmt.Errorf("read timers: %w", err)
		}
		if err := m.openPID1(ctx); err != nil {
			return at, nil, err
		}
	}
	opened := m.events.now().portOpened
	m.endSession(&EndedError{By: "Snapshot", Gone: true})
	conn, closed, err := m.reopen(ctx, opened)
	if err != nil {
		return at, nil, err
	}
	opened = m.events.now().portOpened
	var recorded link.Handshake
	session, err := m.shakeHands(ctx, closed, func(ctx context.Context) (client *link.Client, err error) {
		client, recorded, err = link.DialRecorded(ctx, conn)
		return client, err
	})
	if err != nil {
		return at, nil, err
	}
	hostEnd = session
	if recorded.Check(ctx) != nil {
		session.Close()
		recorded = link.Handshake{}
		if hostEnd, _, err = m.reopen(ctx, opened); err != nil {
			return at, nil, err
		}
	}
	stops := m.events.now().stops
	if err := m.monitor.Execute(ctx, "stop", nil, nil, nil); err != nil {
		return at, hostEnd, err
	}
	err = m.events.wait(ctx, func(seen events) bool { return seen.stops > stops })
	at.Stopped, at.Session = m.events.now().stopped, recorded
	return at, hostEnd, err
}
