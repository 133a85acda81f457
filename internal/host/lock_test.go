package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	first, err := LockFile(t.Context(), path, nil)
	require.NoError(t, err)
	_, err = TryLockFile(path)
	require.ErrorIs(t, err, ErrLocked)
	assert.EqualError(t, err, "lock "+path+": lock held elsewhere")

	why := errors.New("no more time")
	ctx, cancel := context.WithCancelCause(t.Context())
	waited := 0
	_, err = LockFile(ctx, path, func() { waited++; cancel(why) })
	require.ErrorIs(t, err, why)
	assert.Equal(t, 1, waited)

	second := make(chan *Lock)
	waiting := make(chan struct{})
	go func() {
		lock, err := LockFile(t.Context(), path, func() { close(waiting) })
		assert.NoError(t, err)
		second <- lock
	}()
	<-waiting
	require.NoError(t, first.Close())
	require.NoError(t, (<-second).Close())
	assert.FileExists(t, path)
}

func TestLockOfDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	_, err := TryRLockDir(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.Mkdir(path, 0o700))
	first, err := TryRLockDir(path)
	require.NoError(t, err)
	second, err := TryRLockDir(path)
	require.NoError(t, err)
	_, err = TryLockDir(path)
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, first.Close())
	_, err = TryLockDir(path)
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, second.Close())
	alone, err := TryLockDir(path)
	require.NoError(t, err)
	_, err = TryRLockDir(path)
	require.ErrorIs(t, err, ErrLocked)

	named, err := alone.Named()
	require.NoError(t, err)
	assert.True(t, named)
	require.NoError(t, os.Rename(path, path+"~"))
	named, err = alone.Named()
	require.NoError(t, err)
	assert.False(t, named)
	require.NoError(t, alone.Close())
}

// TestLockGivesUp has a file that loses its name each time that it is locked.
func TestLockGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	why := errors.New("no more time")
	ctx, cancel := context.WithCancelCause(t.Context())
	tries := 0
	_, err := acquire(ctx, path, func(f *flock.Flock) error {
		if tries++; tries == 3 {
			cancel(why)
		}
		_, err := f.TryLock()
		return errors.Join(err, os.Remove(path))
	})
	require.ErrorIs(t, err, why)
	assert.Equal(t, 3, tries)
}

// TestLockReportsThatItCannotLook has a path that the kernel cannot resolve. Only a file
// without its name is a reason to lock again.
func TestLockReportsThatItCannotLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	tries := 0
	_, err := acquire(t.Context(), path, func(f *flock.Flock) error {
		tries++
		_, err := f.TryLock()
		return errors.Join(err, os.Remove(path), os.Symlink(path, path))
	})
	require.ErrorIs(t, err, unix.ELOOP)
	assert.Equal(t, 1, tries)
}

// Holders remove the lock's file. Those who wait must not end up with a lock on a file
// that is gone, beside somebody with one on the new file.
func TestRemovedLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	var holders sync.Mutex
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range 50 {
				lock, err := LockFile(t.Context(), path, nil)
				if !assert.NoError(t, err) {
					return
				}
				assert.True(t, holders.TryLock(), "two hold the lock")
				holders.Unlock()
				assert.NoError(t, lock.Remove())
			}
		})
	}
	workers.Wait()
	assert.NoFileExists(t, path)
}

// The holder before removes the file after the next one has opened it.
func TestLockIsOnTheNamedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	tries := 0
	lock, err := acquire(t.Context(), path, func(f *flock.Flock) error {
		tries++
		_, err := f.TryLock()
		switch tries {
		case 1:
			return errors.Join(err, os.Remove(path))
		case 2: // and a third process makes another
			return errors.Join(err, os.Remove(path), os.WriteFile(path, nil, 0o600))
		}
		return err
	})
	require.NoError(t, err)
	assert.Equal(t, 3, tries)
	_, err = TryLockFile(path)
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, os.Remove(path))
	other, err := TryLockFile(path)
	require.NoError(t, err)
	require.NoError(t, lock.Remove())
	assert.FileExists(t, path, "the other's")
	require.NoError(t, other.Remove())
	assert.NoFileExists(t, path)
}

func TestLockErrors(t *testing.T) {
	_, err := LockFile(t.Context(), "/sys/a.lock", nil)
	var lacks *Error
	require.ErrorAs(t, err, &lacks)
	assert.Contains(t, lacks.Cure, "VMTEST_CACHE")
	_, err = TryLockFile(filepath.Join(t.TempDir(), "no", "a.lock"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
