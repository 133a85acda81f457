package gobuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// keepUnused is how long the cache keeps a small file that is quick to make again
// and that nobody has used.
const keepUnused = 30 * 24 * time.Hour

// lockPoll is how often a lock that another process holds is tried again; flock
// has no wait that a context could end.
const lockPoll = 50 * time.Millisecond

// What lies beside a program in the cache: the folder of work is there while the
// program is built, or when a test was killed meanwhile.
const (
	digestSuffix = ".sha256"
	lockSuffix   = ".lock"
	workSuffix   = ".work"
)

// lockProgram locks a program of the cache's folder go. The caller closes the lock.
func lockProgram(ctx context.Context, path string) (*flock.Flock, error) {
	for {
		lock := flock.New(path+lockSuffix, flock.SetPermissions(0o600))
		if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
		}
		if holds(lock) {
			return lock, nil
		}
		lock.Close()
	}
}

// holds tells a lock from one on a file that dropPrograms has removed meanwhile.
func holds(lock *flock.Flock) bool {
	locked, err := lock.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(lock.Path())
	return err == nil && os.SameFile(locked, named)
}

// dropPrograms removes programs and their locks from the cache's folder go that
// nobody has used since the given time.
func dropPrograms(dir string, since time.Time) error {
	locks, err := fs.Glob(os.DirFS(dir), "*"+lockSuffix)
	if err != nil {
		return err
	}
	for _, name := range locks {
		if err := dropProgram(filepath.Join(dir, strings.TrimSuffix(name, lockSuffix)), since); err != nil {
			return fmt.Errorf("clean %s: %w", dir, err)
		}
	}
	return nil
}

func dropProgram(path string, since time.Time) error {
	used, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) { // it was never built
		used, err = os.Stat(path + lockSuffix)
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && used.ModTime().After(since) {
		return nil
	} else if err != nil {
		return err
	}
	lock := flock.New(path + lockSuffix)
	if ok, err := lock.TryLock(); err != nil || !ok {
		return err // one that is used now is not unused
	}
	defer lock.Close()
	if err := os.RemoveAll(path + workSuffix); err != nil {
		return err
	}
	// The lock goes last: who waits for it then finds out, and makes another.
	for _, p := range []string{path, path + digestSuffix, path + lockSuffix} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
