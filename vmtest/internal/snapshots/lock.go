package snapshots

import (
	"context"
	"fmt"

	"example.org/systemd-vmtest/internal/host"
)

const lockSuffix = ".lock"

// lockPath returns the file of the lock of a key: the right to make or remove its
// snapshot, among all processes. The file exists only while a process holds the lock or
// waits for it.
func (s *Store) lockPath(key string) string { return s.path(key + lockSuffix) }

// lock waits for the lock of a key. It calls waiting once if another process has it. The
// caller removes the lock.
func (s *Store) lock(ctx context.Context, key string, waiting func()) (*host.Lock, error) {
	l, err := host.LockFile(ctx, s.lockPath(key), waiting)
	if err != nil {
		return nil, fmt.Errorf("wait for snapshot: %w", err)
	}
	return l, nil
}
