package snapshots

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/internal/host"
)

// entries returns the names in the store's directory.
func entries(t *testing.T, s *Store) []string {
	list, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	names := []string{}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestTwoOpenersMakeTheSnapshotOnce(t *testing.T) {
	s := newStore(t)
	var made atomic.Int32
	inMake, finish := make(chan struct{}), make(chan struct{})
	results := make(chan error, 2)
	waiting := make(chan struct{}, 1)
	get := func() {
		f, err := s.Open(t.Context(), Info{Key: keyA}, func(string) { waiting <- struct{}{} }, func(f *Files) error {
			made.Add(1)
			close(inMake)
			<-finish
			return fillWith("one")(f)
		})
		if err == nil {
			err = f.Close()
		}
		results <- err
	}
	go get()
	<-inMake
	go get()
	<-waiting
	close(finish)
	assert.NoError(t, <-results)
	assert.NoError(t, <-results)
	assert.EqualValues(t, 1, made.Load())
	assert.Equal(t, []string{keyA}, entries(t, s), "no lock is left")
}

// TestLosersGoOnOnceTheSnapshotIsMade has many openers that all find no snapshot. Each
// keeps the snapshot open until all others have it, as test binaries do.
func TestLosersGoOnOnceTheSnapshotIsMade(t *testing.T) {
	const rounds, openers = 8, 16 // which of them lose is up to the scheduler
	for range rounds {
		s := newStore(t)
		var made atomic.Int32
		var opened, closed sync.WaitGroup
		opened.Add(openers)
		for range openers {
			closed.Go(func() {
				f, err := s.Open(t.Context(), Info{Key: keyA}, func(string) {}, func(f *Files) error {
					made.Add(1)
					return fillWith("one")(f)
				})
				opened.Done()
				if !assert.NoError(t, err) {
					return
				}
				opened.Wait()
				assert.NoError(t, f.Close())
			})
		}
		closed.Wait()
		assert.EqualValues(t, 1, made.Load())
		assert.Equal(t, []string{keyA}, entries(t, s), "no lock is left")
	}
}

// TestDamagedSnapshotInUseIsMadeAgain does not wait for the process that uses it.
func TestDamagedSnapshotInUseIsMadeAgain(t *testing.T) {
	s := newStore(t)
	user, _, _ := open(t, s, keyA, "one")
	flip(t, filepath.Join(s.dir, keyA, "ram"), 4096)
	f, notice, made := open(t, s, keyA, "two")
	assert.True(t, made)
	assert.Equal(t, "the snapshot is unusable (its memory was altered); making it again", notice)
	assert.Equal(t, "state two", content(t, f))
	buf := make([]byte, 9)
	_, err := user.State.ReadAt(buf, 0)
	require.NoError(t, err)
	assert.Equal(t, "state one", string(buf), "the user of the old one has its files")
	require.NoError(t, user.Close())
	assert.ErrorIs(t, s.Remove(keyA), ErrInUse, "the new one has a user of its own")
}

func TestAFailedMakeIsTheTurnOfTheNext(t *testing.T) {
	s := newStore(t)
	fault := errors.New("no luck")
	inMake, fail := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := s.Open(t.Context(), Info{Key: keyA}, func(string) {}, func(*Files) error {
			close(inMake)
			<-fail
			return fault
		})
		first <- err
	}()
	<-inMake
	f, err := s.Open(t.Context(), Info{Key: keyA}, func(string) { close(fail) }, fillWith("two"))
	require.NoError(t, err)
	assert.Equal(t, "state two", content(t, f))
	require.NoError(t, f.Close())
	assert.ErrorIs(t, <-first, fault)
}

func TestPruneRemovesWhatKilledProcessesLeft(t *testing.T) {
	s := newStore(t)
	f, _, _ := open(t, s, keyA, "one")
	for _, name := range []string{keyA + ".lock", keyB + ".lock", "notes.lock"} {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), nil, 0o600))
	}
	for _, key := range []string{keyA, keyB} {
		require.NoError(t, os.MkdirAll(filepath.Join(s.dir, ".new-"+key+"-123", "ram"), 0o700))
	}
	held, err := host.TryLockFile(s.lockPath(keyC))
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, ".new-"+keyC+"-123"), 0o700))

	_, err = s.Prune(DefaultLimit)
	require.NoError(t, err)
	assert.Equal(t, []string{".new-" + keyC + "-123", keyA, keyC + ".lock", "notes.lock"}, entries(t, s))
	require.NoError(t, held.Remove())
	_, err = s.Prune(0)
	require.NoError(t, err)
	assert.Equal(t, []string{keyA, "notes.lock"}, entries(t, s))
	require.NoError(t, f.Close())
}

// TestDiscardedSnapshotIsMadeAnew has a snapshot that is intact and cannot be loaded.
func TestDiscardedSnapshotIsMadeAnew(t *testing.T) {
	s := newStore(t)
	user, _, _ := open(t, s, keyA, "one")
	f, _, made := open(t, s, keyA, "two")
	require.False(t, made)
	require.NoError(t, f.Discard(t.Context()))
	assert.Empty(t, entries(t, s))
	f, notice, made := open(t, s, keyA, "three")
	assert.True(t, made)
	assert.Empty(t, notice)
	assert.Equal(t, "state three", content(t, f))

	// Another process finds out later that it cannot load the first one either.
	require.NoError(t, user.Discard(t.Context()))
	f, _, made = open(t, s, keyA, "four")
	assert.False(t, made, "the snapshot that replaced it was discarded")
	assert.Equal(t, "state three", content(t, f))
	assert.Equal(t, []string{keyA}, entries(t, s))
}

func TestDiscardWithoutStore(t *testing.T) {
	f, err := newStore(t).Scratch(1)
	require.NoError(t, err)
	require.NoError(t, f.Discard(t.Context()))
	assert.ErrorIs(t, f.RAM.Sync(), fs.ErrClosed)
}
