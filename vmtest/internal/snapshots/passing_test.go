package snapshots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/inputs"
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

// A fill that ends its goroutine, as a test's FailNow does, leaves nothing, and the next
// Open makes the snapshot.
func TestAFillThatEndsItsGoroutine(t *testing.T) {
	s := newStore(t)
	var left *Files
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := s.Open(t.Context(), Info{Key: keyA}, func(string) {}, func(f *Files) error {
			left = f
			runtime.Goexit()
			return nil
		})
		t.Errorf("Open returned: %v", err)
	}()
	<-ended
	assert.ErrorIs(t, left.RAM.Close(), os.ErrClosed)
	found, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	assert.Empty(t, found)
	_, notice, made := open(t, s, keyA, "one")
	assert.True(t, made)
	assert.Empty(t, notice)
}

// What a fill adds to the description is kept, and a Check sees it. The notice of a
// snapshot that is outdated is the reason alone.
func TestATemplateIsDescribed(t *testing.T) {
	s := newStore(t)
	template := Template{Name: "a", Package: "example.org/a", Dir: "/a", Inputs: []inputs.Input{{Kind: inputs.Env, Name: "HOME", Digest: "1"}}}
	f, err := s.Open(t.Context(), Info{Key: keyA}, func(string) {}, func(f *Files) error {
		f.Info.Template = &template
		return fillWith("one")(f)
	})
	require.NoError(t, err)
	require.NoError(t, f.Close())
	s.Check = func(f *Files) error {
		if assert.NotNil(t, f.Info.Template) {
			assert.Equal(t, template, *f.Info.Template)
		}
		return &OutdatedError{"/a has changed"}
	}
	var notice string
	f, err = s.Open(t.Context(), Info{Key: keyA}, func(text string) { notice = text }, func(f *Files) error {
		s.Check = nil
		return fillWith("two")(f)
	})
	require.NoError(t, err)
	assert.Equal(t, "state two", content(t, f))
	require.NoError(t, f.Close())
	assert.Equal(t, "/a has changed; making it again", notice)
}
