package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// Lock is a lock on a file in the cache. It excludes other processes, and others in
// this process. The kernel takes it back when the process dies.
type Lock struct{ file *flock.Flock }

// ErrLocked reports that a lock is held elsewhere.
var ErrLocked = errors.New("it is locked")

// lockPoll is how often to try a lock that is held elsewhere: no context can end a
// blocking flock(2).
const lockPoll = 50 * time.Millisecond

// LockFile locks the file at path, which it makes if there is none, and waits until
// nobody else holds the lock or ctx ends. If it has to wait it calls waiting, unless
// that is nil. The caller calls Close or Remove.
func LockFile(ctx context.Context, path string, waiting func()) (*Lock, error) {
	return lockFile(ctx, path, waiting, (*flock.Flock).TryLock, (*flock.Flock).TryLockContext)
}

// RLockFile is [LockFile] for a lock that several holders can share.
func RLockFile(ctx context.Context, path string, waiting func()) (*Lock, error) {
	return lockFile(ctx, path, waiting, (*flock.Flock).TryRLock, (*flock.Flock).TryRLockContext)
}

// TryLockFile locks the file at path, which it makes if there is none. The error
// wraps ErrLocked if the lock is held elsewhere.
func TryLockFile(path string) (*Lock, error) {
	for {
		file := flock.New(path)
		ok, err := file.TryLock()
		if err == nil && !ok {
			err = ErrLocked
		}
		if err != nil {
			return nil, lockError(path, err)
		}
		if isNamed(file) {
			return &Lock{file}, nil
		}
		_ = file.Close()
	}
}

func lockFile(ctx context.Context, path string, waiting func(), try func(*flock.Flock) (bool, error),
	wait func(*flock.Flock, context.Context, time.Duration) (bool, error)) (*Lock, error) {
	for {
		file := flock.New(path)
		ok, err := try(file)
		if err == nil && !ok {
			if waiting != nil {
				waiting()
				waiting = nil
			}
			_, err = wait(file, ctx, lockPoll)
		}
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, lockError(path, err)
		}
		if isNamed(file) {
			return &Lock{file}, nil
		}
		_ = file.Close()
	}
}

// isNamed reports whether the locked file still has its name. Its holder before may
// have removed it, and another process may have made and locked a new one.
func isNamed(file *flock.Flock) bool {
	locked, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(file.Path())
	return err == nil && os.SameFile(locked, named)
}

func lockError(path string, err error) error {
	switch {
	case refused(err) || isFull(err):
		return cacheError("lock file", err)
	case errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP):
		return &Error{Cause: fmt.Sprintf("lock %s: %v", path, err), Cure: localCache, Err: err}
	}
	return fmt.Errorf("lock %s: %w", path, err)
}

// Close gives the lock up. Its file stays.
func (l *Lock) Close() error { return l.file.Close() }

// Remove removes the lock's file and gives the lock up. Processes that wait for the
// lock then make a new file. It must not be called for a lock that is shared.
func (l *Lock) Remove() error {
	err := os.Remove(l.file.Path())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.file.Close())
}
