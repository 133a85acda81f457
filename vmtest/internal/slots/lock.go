package slots

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lock keeps other processes from drawing and counting tickets. It is held for a
// few system calls at a time, so it blocks: nothing to wait for outlasts ctx.
func (q Queue) lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	// Not opened for writing, so that closing it wakes none of those who watch.
	f, err := os.OpenFile(filepath.Join(q.Dir, "lock"), os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of the queue: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock queue: %w", err)
		}
		return func() { f.Close() }, nil
	}
}
