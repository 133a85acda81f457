package snapshots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// unmade returns what opens a snapshot that must not be made.
func unmade(t *testing.T, s *Store) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		f, err := s.Open(ctx, Info{Key: keyA},
			func(text string) { t.Errorf("notice: %s", text) },
			func(*Files) error { t.Error("the snapshot is made again"); return errors.New("no luck") })
		if err == nil {
			assert.NoError(t, f.Close())
		}
		return err
	}
}

// assertKept checks that the first snapshot is still there.
func assertKept(t *testing.T, s *Store) {
	t.Helper()
	s.Check = nil
	f, _, made := open(t, s, keyA, "two")
	assert.False(t, made)
	assert.Equal(t, "state one", content(t, f))
}

func TestAnEndedContextKeepsTheSnapshot(t *testing.T) {
	why := errors.New("no more time")
	for _, during := range []string{"before", "during Check"} {
		t.Run(during, func(t *testing.T) {
			s := newStore(t)
			f, _, _ := open(t, s, keyA, "one")
			require.NoError(t, f.Close())
			ctx, cancel := context.WithCancelCause(t.Context())
			if during == "before" {
				cancel(why)
			}
			s.Check = func(*Files) error {
				cancel(why)
				return errors.New("the record was not played to its end")
			}
			assert.ErrorIs(t, unmade(t, s)(ctx), why)
			assertKept(t, s)
		})
	}
}

func TestAFaultOfTheHostKeepsTheSnapshot(t *testing.T) {
	s := newStore(t)
	f, _, _ := open(t, s, keyA, "one")
	require.NoError(t, f.Close())
	s.Check = func(*Files) error { return fmt.Errorf("read moment: %w", os.NewSyscallError("read", unix.EIO)) }
	assert.ErrorIs(t, unmade(t, s)(t.Context()), unix.EIO)
	assertKept(t, s)
}

// TestNoFreeDescriptorKeepsTheSnapshot lets Open have one more file descriptor each time,
// until it has enough.
func TestNoFreeDescriptorKeepsTheSnapshot(t *testing.T) {
	s := newStore(t)
	f, _, _ := open(t, s, keyA, "one")
	require.NoError(t, f.Close())
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	limit := func(n uint64) {
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max}))
	}
	defer limit(old.Cur)
	refused := 0
	for n := uint64(1); n < 100; n++ {
		limit(n)
		err := unmade(t, s)(t.Context())
		limit(old.Cur)
		if err == nil {
			break
		}
		require.ErrorIs(t, err, unix.EMFILE)
		refused++
	}
	assert.Greater(t, refused, 4, "the directory, its description and three files")
	assertKept(t, s)
}
