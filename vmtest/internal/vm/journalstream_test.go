package vm

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/journal"
)

// A request to start the stream whose answer is lost does not keep the port busy.
func TestJournalStreamWhoseStartIsNotSeen(t *testing.T) {
	h := newFakeHost(t)
	m, f := h.bootFake()
	f.journal.set(func(j *fakeJournal) { j.deaf = true })
	f.killJournal()
	require.NoError(t, m.events.wait(t.Context(), func(seen events) bool { return seen.journalClosed == 1 }))
	assert.EqualError(t, m.SyncJournal(t.Context()), "read journal: start the journal's stream: control journal: lost")
	f.journal.log("one")
	for range 3 {
		require.NoError(t, m.SyncJournal(t.Context()))
	}
	assert.Equal(t, "one", messages(t, m))
	assert.Len(t, f.journal.starts(), 3, "once more, and not again and again")
}

// A journalctl that ends and ends is an error that says why it did.
func TestJournalctlThatFails(t *testing.T) {
	h := newFakeHost(t)
	m, f := h.bootFake()
	f.journal.set(func(j *fakeJournal) { j.fault = "exit status 1; it printed: Failed to open files: No such file" })
	f.killJournal()
	f.journal.log("one")
	require.NoError(t, m.events.wait(t.Context(), func(seen events) bool { return seen.journalClosed == 1 }))
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	assert.EqualError(t, m.SyncJournal(ctx), "read journal: the journal's stream ended; 1 entries of the journal have not arrived, although it was started again; journalctl: exit status 1; it printed: Failed to open files: No such file")
	require.NoError(t, ctx.Err())
	f.journal.set(func(j *fakeJournal) { j.fault = "" })
	require.NoError(t, m.SyncJournal(t.Context()))
	assert.Equal(t, "one", messages(t, m))
}

// One that is killed while a query waits for its entries is started again.
func TestJournalctlThatIsKilledInAQuery(t *testing.T) {
	h := newFakeHost(t)
	m, f := h.bootFake()
	f.journal.set(func(j *fakeJournal) { j.held, j.mute, j.asked = true, true, make(chan struct{}, 9) })
	f.journal.log("one")
	synced := make(chan error, 1)
	go func() { synced <- m.SyncJournal(t.Context()) }()
	<-f.journal.asked
	f.journal.set(func(j *fakeJournal) { j.held, j.mute = false, false })
	f.killJournal()
	require.NoError(t, <-synced)
	assert.Equal(t, "one", messages(t, m))
}

// One that has overlooked an entry is started again, once, and other queries wait for it.
func TestJournalctlThatStandsStill(t *testing.T) {
	h := newFakeHost(t)
	m, f := h.bootFake()
	m.stream.overdue = 50 * time.Millisecond
	f.journal.set(func(j *fakeJournal) { j.mute = true })
	f.journal.log("one")
	require.NoError(t, m.SyncJournal(t.Context()))
	starts := len(f.journal.starts())
	f.journal.set(func(j *fakeJournal) { j.held = true })
	f.journal.log("two")
	f.journal.set(func(j *fakeJournal) { j.held = false })
	synced := make(chan error, 2)
	for range 2 {
		go func() { synced <- m.SyncJournal(t.Context()) }()
	}
	for range 2 {
		require.NoError(t, <-synced)
	}
	assert.Equal(t, "one two", messages(t, m))
	assert.Len(t, f.journal.starts(), starts+1)
}

// A stream that is not read to its end holds up neither other calls nor a ctx that ends.
func TestJournalStreamThatStaysOpen(t *testing.T) {
	h := newFakeHost(t)
	m, f := h.bootFake()
	f.journal.set(func(j *fakeJournal) { j.lingers = true })
	f.killJournal()
	require.NoError(t, m.events.wait(t.Context(), func(seen events) bool { return seen.journalClosed == 1 }))
	enough := errors.New("the time is up")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(enough) })
	errs := make(chan error, 2)
	for range 2 {
		go func() { errs <- m.SyncJournal(ctx) }()
	}
	for range 2 {
		select {
		case err := <-errs:
			assert.ErrorIs(t, err, enough)
		case <-time.After(testTimeout):
			t.Fatal("a query does not end with its context")
		}
	}
}

// A wait gets an entry that the stream left out, though nobody queries the journal.
func TestWaitForAnEntryThatTheStreamLeftOut(t *testing.T) {
	h := newFakeHost(t)
	m, f := h.bootFake()
	f.journal.log("one")
	f.journal.skip("two")
	f.journal.log("three")
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	e, err := m.WaitJournal(ctx, journal.Query{}, nil, func(e journal.Entry) bool { return e.Message == "two" })
	require.NoError(t, err)
	assert.Equal(t, "two", e.Message)
	assert.Empty(t, m.Journal().Losses(0))
}

// lingering returns a machine whose journal's stream stays open when QEMU has gone, that
// stream, and an entry that follows what has been written to it.
func lingering(t *testing.T) (m *Machine, stream io.WriteCloser, entry string) {
	t.Helper()
	m, f := newFakeHost(t).bootFake()
	m.stream.soon = 0 // as on a host that is busy
	f.journal.log("one")
	f.journal.log("two")
	f.journal.set(func(j *fakeJournal) { j.lingers, stream = true, j.conn })
	return m, stream, strings.NewReplacer("i=2;", "i=3;", "two", "three").Replace(f.journal.logged()[1])
}

// A snapshot has all of the journal, also if that is read later than QEMU is gone.
func TestSnapshotWaitsForTheJournal(t *testing.T) {
	m, stream, entry := lingering(t)
	go func() {
		<-m.Done()
		io.WriteString(stream, entry)
		stream.Close()
	}()
	s, err := m.Snapshot(t.Context())
	require.NoError(t, err)
	defer s.Close()
	entries, err := s.entries()
	require.NoError(t, err)
	assert.Equal(t, 3, entries.Len())
}

// No snapshot is made with a part of the journal.
func TestSnapshotWhoseJournalDoesNotEnd(t *testing.T) {
	m, stream, _ := lingering(t)
	defer stream.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-m.Done()
		cancel(errors.New("the time is up"))
	}()
	_, err := m.Snapshot(ctx)
	assert.EqualError(t, err, "snapshot debian-13: read the journal to its end: the time is up")
}
