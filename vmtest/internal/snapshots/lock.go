package snapshots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// lockPoll is how often a process tries again to get a lock that another one holds.
const lockPoll = 50 * time.Millisecond

// keyLock is the right to make or remove the snapshot of one key, among all processes.
// Its file exists only while a process holds it or waits for it.
type keyLock struct{ *flock.Flock }

func (s *Store) newLock(key string) keyLock {
	return keyLock{flock.New(s.path(key+lockSuffix), flock.SetPermissions(0o600))}
}

const lockSuffix = ".lock"

// lock waits for the lock of a key. It calls waiting once if another process has it.
func (s *Store) lock(ctx context.Context, key string, waiting func()) (keyLock, error) {
	l := s.newLock(key)
	ok, err := l.try()
	if err == nil && !ok {
		waiting()
	}
	for err == nil && !ok {
		select {
		case <-time.After(lockPoll): // flock(2) takes no context
			ok, err = l.try()
		case <-ctx.Done():
			return l, fmt.Errorf("wait for snapshot: %w", context.Cause(ctx))
		}
	}
	return l, err
}

// try takes the lock if nobody holds it. The file that it locked may have been removed
// by the last holder since it was opened, and such a lock holds nobody off.
func (l keyLock) try() (bool, error) {
	ok, err := l.TryLock()
	if err != nil {
		return false, fmt.Errorf("lock snapshot: %w", err)
	}
	if ok && !named(l.Flock) {
		return false, l.Close()
	}
	return ok, nil
}

// release removes the lock's file and gives up the lock.
func (l keyLock) release() error {
	var err error
	if named(l.Flock) { // else somebody has emptied the cache
		err = os.Remove(l.Path())
	}
	return errors.Join(err, l.Close())
}

// named reports whether the path of a lock still names the file that is locked.
func named(l *flock.Flock) bool {
	held, err := l.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(l.Path())
	return err == nil && os.SameFile(held, now)
}
