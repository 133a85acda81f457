package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// Lock is a lock on a file or a directory in the cache. It excludes other processes, and others in
// this process. The kernel takes it back when the process dies.
type Lock struct{ file *flock.Flock }

// ErrLocked reports that a lock is held elsewhere.
var ErrLocked = errors.New("lock held elsewhere")

// lockPoll is how often to try a lock that is held elsewhere: no context can end a
// blocking flock(2).
const lockPoll = 50 * time.Millisecond

// LockFile locks the file at path, which it makes if there is none, and waits until
// no other holds the lock or ctx ends. If it has to wait it calls waiting once,
// unless that is nil. The caller calls Close or Remove.
func LockFile(ctx context.Context, path string, waiting func()) (*Lock, error) {
	if waiting == nil {
		waiting = func() {}
	}
	waiting = sync.OnceFunc(waiting)
	return acquire(ctx, path, func(f *flock.Flock) error {
		if ok, err := f.TryLock(); ok || err != nil {
			return err
		}
		waiting()
		_, err := f.TryLockContext(ctx, lockPoll)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	})
}

// TryLockFile locks the file at path, which it makes if there is none. The error
// wraps ErrLocked if the lock is held elsewhere.
func TryLockFile(path string) (*Lock, error) {
	return acquire(context.Background(), path, once((*flock.Flock).TryLock))
}

// TryLockDir locks the directory at path. The error wraps ErrLocked if the lock is held
// elsewhere, and fs.ErrNotExist if there is no such directory.
func TryLockDir(path string) (*Lock, error) {
	return acquire(context.Background(), path, once((*flock.Flock).TryLock), existing)
}

// TryRLockDir is [TryLockDir] for a lock that several holders can share.
func TryRLockDir(path string) (*Lock, error) {
	return acquire(context.Background(), path, once((*flock.Flock).TryRLock), existing)
}

// existing has a lock make no file. Only a lock without it can open a directory.
var existing = flock.SetFlag(os.O_RDONLY)

// once returns a function that tries to take a lock and does not wait.
func once(try func(*flock.Flock) (bool, error)) func(*flock.Flock) error {
	return func(f *flock.Flock) error {
		ok, err := try(f)
		if err == nil && !ok {
			return ErrLocked
		}
		return err
	}
}

// acquire takes locks until it has one on the file that path names, or ctx ends.
func acquire(ctx context.Context, path string, take func(*flock.Flock) error, opts ...flock.Option) (*Lock, error) {
	for {
		file := flock.New(path, opts...)
		if err := take(file); err != nil {
			return nil, lockError(path, err)
		}
		named, err := isNamed(file)
		if named {
			return &Lock{file}, nil
		}
		_ = file.Close()
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, lockError(path, err)
		}
	}
}

// isNamed reports whether the locked file still has its name. Its holder before may
// have removed it, and another process may have made and locked a new one.
func isNamed(file *flock.Flock) (bool, error) {
	locked, err := file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(file.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(locked, named), err
}

// Named reports whether the path of the lock still names what is locked.
func (l *Lock) Named() (bool, error) { return isNamed(l.file) }

func lockError(path string, err error) error {
	switch {
	case refused(err) || isFull(err):
		return cacheError("lock file", err)
	case errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP):
		return &Error{Cause: fmt.Sprintf("lock %s: %v", path, err), Cure: localCache, Check: CacheDirectory, Err: err}
	}
	return fmt.Errorf("lock %s: %w", path, err)
}

// Close gives the lock up. Its file stays.
func (l *Lock) Close() error { return l.file.Close() }

// Remove removes the lock's file and gives the lock up. Processes that wait for the
// lock then make a new file. It must not be called for a lock that is shared.
func (l *Lock) Remove() error {
	named, err := l.Named()
	if named { // and is not a new file of another holder
		err = os.Remove(l.file.Path())
	}
	return errors.Join(err, l.file.Close())
}
