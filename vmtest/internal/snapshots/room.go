package snapshots

import (
	"cmp"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// NoRoomError reports that the store's file system has no room for one more snapshot.
// It wraps ENOSPC.
type NoRoomError struct {
	Dir        string
	Free, Need int64 // bytes
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("%s has %d MB free, a new snapshot takes up to %d MB", e.Dir, e.Free/1e6, e.Need/1e6)
}

func (e *NoRoomError) Unwrap() error { return unix.ENOSPC }

// deviceRoom is an upper bound for the state of a machine's devices, in bytes.
const deviceRoom = 4 << 20

// checkRoom returns a *NoRoomError unless the file system has room for the snapshot of
// a machine with that much memory, in MiB. The memory file is sparse, and SIGBUS kills
// a QEMU that gets no page for it.
func (s *Store) checkRoom(memory int) error {
	free, err := room(s.dir)
	if err != nil {
		return err
	}
	if need := int64(memory)<<20 + deviceRoom; free < need {
		return &NoRoomError{s.dir, free, need}
	}
	return nil
}

// IsFull reports whether the file system of a file has no room left. Other writers may
// fill it while a snapshot is written.
func IsFull(f *os.File) bool {
	free, err := room(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	return err == nil && free < 1<<20
}

// room returns how many bytes an ordinary user can still write to the file system of a
// path.
func room(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("find free space of %s: %w", path, err)
	}
	if st.Blocks == 0 { // the file system counts none
		return math.MaxInt64, nil
	}
	return int64(st.Bavail) * cmp.Or(st.Frsize, st.Bsize), nil
}
