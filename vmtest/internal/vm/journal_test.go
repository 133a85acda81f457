package vm

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/journal"
)

func messages(t *testing.T, m *Machine) string {
	t.Helper()
	entries, err := m.Journal().Select(journal.Query{}, nil)
	require.NoError(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Message)
	}
	return strings.Join(all, " ")
}

func TestJournalArrives(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = func(f *fakeMachine) { f.journal.log("early") }
	m, f := h.bootFake()
	f.journal.mu.Lock()
	f.journal.held = true // as journalctl is by journald's timer
	f.journal.mu.Unlock()
	f.journal.log("one")
	f.journal.log("two")
	require.NoError(t, m.SyncJournal(t.Context()))
	assert.Equal(t, "early one two", messages(t, m))
	assert.Equal(t, []string{""}, f.journal.starts(), "the stream is there from the boot on")
	assert.Zero(t, m.Origin())
}

// A fork has the entries from before it, and goes on with the stream.
func TestJournalOfAFork(t *testing.T) {
	h := newFakeHost(t)
	m, f := h.bootFake()
	f.journal.log("before")
	s, err := m.Snapshot(t.Context())
	require.NoError(t, err)
	defer s.Close()
	<-h.machines
	for range 2 {
		fork, err := s.Fork(t.Context(), Instance{BootTimeout: testTimeout})
		require.NoError(t, err)
		defer fork.Close()
		of := <-h.machines
		assert.Equal(t, 1, fork.Origin())
		of.journal.log("after")
		require.NoError(t, fork.SyncJournal(t.Context()))
		assert.Equal(t, "before after", messages(t, fork))
		assert.Empty(t, of.journal.starts(), "nothing is started for it")
		assert.Empty(t, fork.Journal().Losses(0))
	}
}

// A stream whose journalctl was killed begins again, with no entry lost or twice.
func TestJournalStreamBeginsAgain(t *testing.T) {
	h := newFakeHost(t)
	m, f := h.bootFake()
	f.journal.log("one")
	f.killJournal()
	f.journal.log("two")
	require.NoError(t, m.events.wait(t.Context(), func(seen events) bool { return seen.journalClosed == 1 }))
	require.NoError(t, m.SyncJournal(t.Context()))
	assert.Equal(t, "one two", messages(t, m))
	assert.Equal(t, []string{"", "s=1;i=1;b=b"}, f.journal.starts())
}

// One that has lasted begins again although nobody asks, so that a wait goes on.
func TestJournalStreamBeginsAgainByItself(t *testing.T) {
	h := newFakeHost(t)
	m, _ := h.bootFake()
	s, err := m.Snapshot(t.Context())
	require.NoError(t, err)
	defer s.Close()
	<-h.machines
	fork, err := s.Fork(t.Context(), Instance{BootTimeout: testTimeout})
	require.NoError(t, err)
	defer fork.Close()
	f := <-h.machines
	f.killJournal()
	f.journal.log("late")
	_, err = fork.WaitJournal(t.Context(), journal.Query{}, nil, func(e journal.Entry) bool { return e.Message == "late" })
	require.NoError(t, err)
}

func TestJournalAfterAReboot(t *testing.T) {
	h := newFakeHost(t)
	m, f := h.bootFake()
	f.setCommand(func(args []string) int {
		if args[0] == "systemctl" {
			go f.reset()
		}
		return 0
	})
	f.journal.log("one")
	require.NoError(t, m.SyncJournal(t.Context()))
	require.NoError(t, m.Reboot(t.Context()))
	f.journal.log("two")
	require.NoError(t, m.SyncJournal(t.Context()))
	assert.Equal(t, "one two", messages(t, m))
	assert.Len(t, f.journal.starts(), 2)
}

// A guest that has gone leaves what it had sent.
func TestJournalOfAGuestThatIsGone(t *testing.T) {
	h := newFakeHost(t)
	m, f := h.bootFake()
	f.journal.log("last")
	waited := make(chan error, 1)
	go func() {
		_, err := m.WaitJournal(t.Context(), journal.Query{}, nil, func(e journal.Entry) bool { return e.Message == "never" })
		waited <- err
	}()
	f.end("guest-shutdown")
	err := <-waited
	require.ErrorAs(t, err, new(*GuestError))
	assert.ErrorContains(t, err, "the guest powered off")
	require.NoError(t, m.SyncJournal(t.Context()))
	assert.Equal(t, "last", messages(t, m))
	m.Close()
	assert.Equal(t, "last", messages(t, m))
}

// journald may be away for a moment, and its refusal is an error.
func TestJournaldThatDoesNotAnswer(t *testing.T) {
	h := newFakeHost(t)
	m, f := h.bootFake()
	f.journal.mu.Lock()
	f.journal.down = 2
	f.journal.mu.Unlock()
	require.NoError(t, m.SyncJournal(t.Context()), "it comes back")

	f.journal.mu.Lock()
	f.journal.refuses = `{"error":"org.varlink.service.MethodNotFound"}`
	f.journal.mu.Unlock()
	assert.EqualError(t, m.SyncJournal(t.Context()), "read journal: ask journald to write: org.varlink.service.MethodNotFound")

	f.journal.mu.Lock()
	f.journal.down = 1 << 30
	f.journal.mu.Unlock()
	gone := errors.New("the time is up")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(gone) })
	err := m.SyncJournal(ctx)
	assert.ErrorIs(t, err, gone)
	assert.ErrorContains(t, err, "connect to journald: ")
}
