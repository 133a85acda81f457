package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/deadline"
	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/journal"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// journalStream is the stream by which the guest sends its journal.
type journalStream struct {
	turn   *semaphore.Weighted // of 1, held while the stream is started
	used   bool                // the port has carried a stream
	closed int                 // as for Machine.follow, of the stream; -1 if it may not have begun
	ended  string              // how the stream before it ended, or ""
	read   <-chan struct{}     // closed when all of the stream has been read

	reading sync.WaitGroup // all that reads streams

	// restartable is how long a stream must have lasted to be started again at once. A query
	// starts any other.
	restartable time.Duration
	soon        time.Duration // the limit of journalReadSoon
	overdue     time.Duration // without an entry that is there, until the stream is started again
}

// Journal returns the entries that have arrived of the guest's journal.
func (m *Machine) Journal() *journal.Store { return m.journal }

// Origin returns the number of entries that were there when this machine was forked, or 0.
func (m *Machine) Origin() int { return m.origin }

// readJournal reads a stream until QEMU closes it.
func (m *Machine) readJournal(conn net.Conn) {
	read := make(chan struct{})
	m.stream.read = read
	m.stream.reading.Go(func() {
		defer close(read)
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

// journalRead waits until all of the journal of a QEMU that exits is read.
func (m *Machine) journalRead(ctx context.Context) error {
	select {
	case <-m.journalDone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("read the journal to its end: %w", context.Cause(ctx))
	}
}

// journalReadSoon is journalRead for a short time. What needs all of it waits longer.
func (m *Machine) journalReadSoon() {
	ctx, cancel := context.WithTimeout(context.Background(), m.stream.soon)
	defer cancel()
	_ = m.journalRead(ctx)
}

// openJournal makes the agent send the journal, unless it does already. closed is as for
// Machine.follow, of the stream.
func (m *Machine) openJournal(ctx context.Context) (closed int, err error) {
	return m.startJournal(ctx, -1)
}

// startJournal is openJournal, and first ends a stream that stands still: still is what
// openJournal has returned for it, or -1 for none.
func (m *Machine) startJournal(ctx context.Context, still int) (closed int, err error) {
	s := &m.stream
	if err := s.turn.Acquire(ctx, 1); err != nil {
		return 0, context.Cause(ctx)
	}
	defer s.turn.Release(1)
	closed = m.events.now().journalClosed
	if s.used && closed <= s.closed && s.closed != still {
		return s.closed, nil
	}
	if s.used {
		if closed, err = m.renewJournal(ctx, closed); err != nil {
			return 0, err
		}
	}
	s.used, s.closed = true, closed
	begun := time.Now()
	if err := guest.StartJournal(ctx, m.Session(), guest.JournalStart{Cursor: m.journal.Last()}); err != nil {
		s.closed = -1
		return 0, err
	}
	m.followJournal(closed, begun)
	return closed, nil
}

// renewJournal ends what there may be of the stream, and gives the port a new one. closed is
// how many times the guest has closed the port.
func (m *Machine) renewJournal(ctx context.Context, closed int) (int, error) {
	s := &m.stream
	end, err := guest.EndJournal(ctx, m.Session())
	if err != nil {
		return 0, err
	}
	if end.Stopped { // a request to start it was not seen to succeed
		if err := m.events.wait(ctx, func(seen events) bool { return seen.journalClosed > closed }); err != nil {
			return 0, fmt.Errorf("end the journal's stream: %w", err)
		}
		closed = m.events.now().journalClosed
	}
	s.ended = end.Cause
	// What is left on the old stream may be half an entry.
	conn, err := m.rewire(ctx, qemu.JournalID)
	if err != nil {
		return 0, err
	}
	select {
	case <-s.read:
	case <-ctx.Done():
		conn.Close()
		s.closed = -1
		return 0, fmt.Errorf("read the journal's stream to its end: %w", context.Cause(ctx))
	}
	m.journal.Begin()
	m.readJournal(conn)
	return closed, nil
}

// followJournal starts the stream, begun at that time, again when it has ended and the
// session has not: when something in the guest has killed journalctl.
func (m *Machine) followJournal(closed int, begun time.Time) {
	go func() {
		err := m.events.wait(context.Background(), func(seen events) bool { return seen.journalClosed > closed })
		if err != nil || time.Since(begun) < m.stream.restartable || m.restarting.Load() != nil || m.Session().Err() != nil {
			return
		}
		ctx, cancel := deadline.Within(context.Background(), deadline.Limit{What: "no stream of the journal", Time: exitTime, Pace: m.Pace})
		defer cancel()
		_, _ = m.openJournal(ctx) // the next query tries again, and reports the error
	}()
}

// SyncJournal returns when all that was logged before the call has arrived. If the guest has
// gone, that is all that it had sent.
func (m *Machine) SyncJournal(ctx context.Context) error {
	if isClosed(m.Done()) {
		return m.journalRead(ctx)
	}
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	if err := m.syncJournal(ctx); err != nil {
		return m.Explain(ctx, "lost", fmt.Errorf("read journal: %w", err))
	}
	return nil
}

func (m *Machine) syncJournal(ctx context.Context) error {
	closed, err := m.openJournal(ctx)
	if err != nil {
		return err
	}
	err = systemd.SyncJournald(ctx, func(ctx context.Context) (net.Conn, error) {
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
	err = m.waitTailsOrStill(ctx, places, closed)
	if errors.Is(err, errStreamStill) {
		if closed, err = m.startJournal(ctx, closed); err == nil {
			err = m.waitTails(ctx, places, closed)
		}
	}
	if errors.Is(err, errStreamEnded) { // which a test may have brought about, once
		if closed, err = m.openJournal(ctx); err == nil {
			err = m.waitTails(ctx, places, closed)
		}
	}
	if errors.Is(err, errStreamEnded) {
		_, openErr := m.openJournal(ctx)
		return cmp.Or(openErr, fmt.Errorf("%w, although it was started again; journalctl: %s", err, m.streamEnd(ctx)))
	}
	if err != nil {
		if end := m.streamEnd(ctx); end != "" {
			err = fmt.Errorf("%w; a stream of it has ended before; journalctl: %s", err, end)
		}
		return err
	}
	return m.fillJournal(ctx)
}

// streamEnd returns how the stream before the present one has ended, if that is known.
func (m *Machine) streamEnd(ctx context.Context) string {
	if m.stream.turn.Acquire(ctx, 1) != nil {
		return ""
	}
	defer m.stream.turn.Release(1)
	return m.stream.ended
}

// fillJournal reads again what the stream left out.
func (m *Machine) fillJournal(ctx context.Context) error {
	cursor, gap := m.journal.Gap()
	if !gap {
		return nil
	}
	args := []string{"journalctl", "--boot", "--output=export", "--all", "--no-pager", "--quiet"}
	if cursor != "" {
		args = append(args, "--cursor="+cursor)
	}
	stderr := tail.NewBuffer(stderrKept)
	return m.journal.Fill(func(w io.Writer) error {
		err := m.Exec(ctx, link.Command{Args: args, Stdout: w, Stderr: stderr})
		if text := stderr.String(); err != nil && text != "" {
			err = fmt.Errorf("%w; journalctl printed: %s", err, tail.Printable(text))
		}
		return err
	})
}

// stderrKept is how much of what journalctl prints is kept, in bytes.
const stderrKept = 1 << 10

// WaitJournal returns the first entry that q selects and match accepts, as journal.Store.Wait.
func (m *Machine) WaitJournal(ctx context.Context, q journal.Query, user *uint32, match func(journal.Entry) bool) (journal.Entry, error) {
	if q.Last > 0 {
		if err := m.SyncJournal(ctx); err != nil {
			return journal.Entry{}, err
		}
	}
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	// The entry may be one that the stream has left out.
	filled := make(chan struct{})
	filling, stop := context.WithCancel(ctx)
	go func() {
		defer close(filled)
		for m.journal.WaitGap(filling) == nil && m.fillJournal(filling) == nil {
		}
	}()
	e, err := m.journal.Wait(ctx, q, user, match)
	stop()
	<-filled
	return e, m.Explain(ctx, "lost", err)
}
