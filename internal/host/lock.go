package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
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
// no other holds the lock or ctx ends. If it has to wait it calls waiting once,
// unless that is nil. The caller calls Close or Remove.
func LockFile(ctx context.Context, path string, waiting func()) (*Lock, error) {
	w := newWait(ctx, waiting)
	return acquire(path, func(f *flock.Flock) error { return w.until(f.TryLock, f.TryLockContext) })
}

// RLockFile is [LockFile] for a lock that several holders can share.
func RLockFile(ctx context.Context, path string, waiting func()) (*Lock, error) {
	w := newWait(ctx, waiting)
	return acquire(path, func(f *flock.Flock) error { return w.until(f.TryRLock, f.TryRLockContext) })
}

// TryLockFile locks the file at path, which it makes if there is none. The error
// wraps ErrLocked if the lock is held elsewhere.
func TryLockFile(path string) (*Lock, error) {
	return acquire(path, func(f *flock.Flock) error {
		ok, err := f.TryLock()
		if err == nil && !ok {
			return ErrLocked
		}
		return err
	})
}

// acquire takes a lock until it has one on the file that path names.
func acquire(path string, take func(*flock.Flock) error) (*Lock, error) {
	for {
		file := flock.New(path)
		if err := take(file); err != nil {
			return nil, lockError(path, err)
		}
		if isNamed(file) {
			return &Lock{file}, nil
		}
		_ = file.Close()
	}
}

// wait is a wait for a lock.
type wait struct {
	ctx    context.Context
	notice func() // that it begins
}

func newWait(ctx context.Context, waiting func()) wait {
	if waiting == nil {
		waiting = func() {}
	}
	return wait{ctx, sync.OnceFunc(waiting)}
}

// until waits until poll takes the lock, after a first try.
func (w wait) until(try func() (bool, error), poll func(context.Context, time.Duration) (bool, error)) error {
	ok, err := try()
	if ok || err != nil {
		return err
	}
	w.notice()
	if _, err = poll(w.ctx, lockPoll); err != nil && w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return err
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
	var err error
	if isNamed(l.file) { // not a new file of another holder
		err = os.Remove(l.file.Path())
	}
	return errors.Join(err, l.file.Close())
}
