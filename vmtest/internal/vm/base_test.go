package vm

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.org/systemd-vmtest/vmtest/internal/memo"
)

// newBases forgets the snapshots of other tests.
func newBases() { bases = memo.Memo[string, *Kept]{} }

// notices keeps what a person was told.
type notices struct {
	mu   sync.Mutex
	text []string
}

func (n *notices) add(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text = append(n.text, text)
}

func (n *notices) count(part string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(strings.Join(n.text, "\n"), part)
}

// brokenUntil makes forks fail to load until n snapshots have been made.
func brokenUntil(n int) func(*fakeMachine) {
	var mu sync.Mutex
	made := 0
	return func(f *fakeMachine) {
		mu.Lock()
		defer mu.Unlock()
		if !f.incoming() {
			made++
		}
		f.refusesState = f.private() && made < n
	}
}

// A snapshot that cannot be loaded is discarded and made again, and all its forks share
// the new one.
func TestBaseThatCannotBeLoaded(t *testing.T) {
	newBases()
	h := newFakeHost(t)
	h.prepare = brokenUntil(2)
	var said notices
	s := someSpec(t)
	s.Notice = said.add
	var forks sync.WaitGroup
	for range 3 {
		forks.Go(func() {
			m, err := ForkBase(t.Context(), s)
			if assert.NoError(t, err) {
				assert.NoError(t, m.run(t.Context(), "true"))
				m.Close()
			}
		})
	}
	forks.Wait()
	assert.Equal(t, 1, said.count("the snapshot cannot be loaded ("), "%v", said.text)
	assert.Equal(t, 2, said.count("booting once"), "%v", said.text)
	left, err := filepath.Glob(filepath.Join(os.Getenv("VMTEST_CACHE"), "snapshots", "*", "state"))
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

// A snapshot that was made again and cannot be loaded either is an error.
func TestBaseThatCanNeverBeLoaded(t *testing.T) {
	newBases()
	h := newFakeHost(t)
	h.prepare = brokenUntil(100)
	var said notices
	s := someSpec(t)
	s.Notice = said.add
	for range 2 {
		_, err := ForkBase(t.Context(), s)
		require.ErrorAs(t, err, new(*GuestError))
		assert.ErrorContains(t, err, "load of migration failed")
	}
	assert.Equal(t, 2, said.count("booting once"), "%v", said.text)
	// Each boot has a QEMU that boots, one that saves, and one that forks. The second call
	// tries one fork.
	assert.Len(t, h.machines, 3+3+1)
}

// A snapshot in which a timer is overdue is made again, once. One whose timer elapsed while
// it was made is used.
func TestBaseWhoseTimerIsOverdue(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = func(f *fakeMachine) { f.elapses = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC) }
	var said notices
	s := someSpec(t)
	s.Notice = said.add
	for range 2 {
		newBases() // as in another process
		m, err := ForkBase(t.Context(), s)
		require.NoError(t, err)
		m.Close()
	}
	assert.Equal(t, 2, said.count("booting once"), "%v", said.text)
	assert.Equal(t, 1, said.count("the snapshot is unusable (its daily.timer would elapse in each fork, "+
		"because 2026-11-26 00:00:00 UTC has passed); making it again"), "%v", said.text)
}

// One whose timer is not due is not.
func TestBaseWhoseTimerIsNotDue(t *testing.T) {
	h := newFakeHost(t)
	h.prepare = func(*fakeMachine) {}
	var said notices
	s := someSpec(t)
	s.Notice = said.add
	for range 2 {
		newBases()
		m, err := ForkBase(t.Context(), s)
		require.NoError(t, err)
		m.Close()
	}
	assert.Equal(t, 1, said.count("booting once"), "%v", said.text)
}
