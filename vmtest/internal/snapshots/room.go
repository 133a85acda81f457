package snapshots

import (
	"cmp"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// NoRoomError says that the store's file system has no room for one more snapshot.
// It is an ENOSPC.
type NoRoomError struct {
	Dir        string
	Free, Need int64 // bytes
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("%s has %d MB free, a snapshot in the making takes up to %d MB", e.Dir, e.Free/1e6, e.Need/1e6)
}

func (e *NoRoomError) Unwrap() error { return unix.ENOSPC }

// deviceRoom is more than the state of a machine's devices takes, in bytes.
const deviceRoom = 4 << 20

// checkRoom compares what a machine of that much memory, in MiB, can take with what
// the file system has. The memory file is sparse, and a QEMU that cannot get a page
// of it dies by SIGBUS; so it is better not to begin.
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

// IsFull tells whether the file system of a file has no room left, as it may come to
// while a snapshot is written.
func IsFull(f *os.File) bool {
	free, err := room(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	return err == nil && free < 1<<20
}

// room is what an ordinary user can still write to the file system of a path, in
// bytes.
func room(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("find free space of %s: %w", path, err)
	}
	if st.Blocks == 0 { // it does not count them
		return math.MaxInt64, nil
	}
	return int64(st.Bavail) * cmp.Or(st.Frsize, st.Bsize), nil
}
