package vm

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// journalStream is the stream by which the guest sends its journal.
type journalStream struct {
	mu     sync.Mutex // held while the stream is started
	used   bool       // the port has carried a stream
	closed int        // as for Machine.follow, of the stream
	since  time.Time

	reading sync.WaitGroup // all that reads streams
}

// Journal returns the entries that have arrived of the guest's journal.
func (m *Machine) Journal() *journal.Store { return m.journal }

// Origin returns the number of entries that were there when this machine was forked, or 0.
func (m *Machine) Origin() int { return m.origin }

// readJournal reads a stream until QEMU closes it.
func (m *Machine) readJournal(conn net.Conn) {
	m.stream.reading.Go(func() {
		defer conn.Close()
		if _, err := io.Copy(m.journal, conn); err != nil {
			// The guest must not block on its journal.
			io.Copy(io.Discard, conn)
		}
	})
}

// endJournal ends the store when QEMU has exited and all of its streams have been read.
func (m *Machine) endJournal() {
	<-m.Done()
	m.stream.reading.Wait()
	m.journal.End(m.goneError())
	close(m.journalDone)
}

// journalRead waits until all of the journal of a QEMU that has exited is read.
func (m *Machine) journalRead() {
	select {
	case <-m.journalDone:
	case <-time.After(exitTime):
	}
}

// openJournal makes the agent send the journal, unless it does already.
func (m *Machine) openJournal(ctx context.Context) error {
	s := &m.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	closed := m.events.now().journalClosed
	if s.used && closed <= s.closed {
		return nil
	}
	if s.used {
		// What is left on the old stream may be half an entry.
		conn, err := m.rewire(ctx, qemu.JournalID)
		if err != nil {
			return err
		}
		s.reading.Wait()
		m.journal.Begin()
		m.readJournal(conn)
	}
	s.used, s.closed, s.since = true, closed, time.Now()
	err := guest.StartJournal(ctx, m.Session(), guest.JournalStart{Cursor: m.journal.Last()})
	if err != nil {
		s.closed = -1
		return err
	}
	m.followJournal(closed)
	return nil
}

// restartable is how long a stream must have lasted to be started again at once. A query
// starts any other.
const restartable = time.Second

// followJournal starts the stream again when it has ended and the session has not: when
// something in the guest has killed journalctl.
func (m *Machine) followJournal(closed int) {
	go func() {
		err := m.events.wait(context.Background(), func(seen events) bool { return seen.journalClosed > closed })
		m.stream.mu.Lock()
		since := m.stream.since
		m.stream.mu.Unlock()
		if err != nil || time.Since(since) < restartable || m.restarting.Load() != nil || m.Session().Err() != nil {
			return
		}
		ctx, cancel := deadline.Within(context.Background(), deadline.Limit{What: "no stream of the journal", Time: exitTime, Pace: m.Pace})
		defer cancel()
		_ = m.openJournal(ctx) // the next query tries again, and reports the error
	}()
}

// SyncJournal returns when all that was logged before the call has arrived. If the guest has
// gone, that is all that it had sent.
func (m *Machine) SyncJournal(ctx context.Context) error {
	if isClosed(m.Done()) {
		m.journalRead()
		return nil
	}
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	if err := m.syncJournal(ctx); err != nil {
		return m.Explain(ctx, "lost", fmt.Errorf("read journal: %w", err))
	}
	return nil
}

func (m *Machine) syncJournal(ctx context.Context) error {
	if err := m.openJournal(ctx); err != nil {
		return err
	}
	err := systemd.SyncJournald(ctx, func(ctx context.Context) (net.Conn, error) {
		return m.Session().Dial(ctx, "unix", systemd.JournaldSocket)
	})
	if err != nil {
		return err
	}
	tails, err := guest.JournalTails(ctx, m.Session())
	if err != nil {
		return err
	}
	places := make([]journal.Place, len(tails))
	for i, t := range tails {
		places[i] = journal.Place(t)
	}
	if err := m.journal.WaitTails(ctx, places); err != nil {
		return err
	}
	cursor, gap := m.journal.Gap()
	if !gap {
		return nil
	}
	return m.journal.Fill(func(w io.Writer) error {
		args := []string{"journalctl", "--boot", "--output=export", "--all", "--no-pager", "--quiet", "--cursor=" + cursor}
		return m.Exec(ctx, link.Command{Args: args, Stdout: w, Stderr: io.Discard})
	})
}

// WaitJournal returns the first entry that q selects and match accepts, as journal.Store.Wait.
func (m *Machine) WaitJournal(ctx context.Context, q journal.Query, user *uint32, match func(journal.Entry) bool) (journal.Entry, error) {
	if q.Last > 0 {
		if err := m.SyncJournal(ctx); err != nil {
			return journal.Entry{}, err
		}
	}
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	e, err := m.journal.Wait(ctx, q, user, match)
	return e, m.Explain(ctx, "lost", err)
}
