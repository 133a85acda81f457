package snapshots

import (
	"fmt"
	"os"

	"example.org/systemd-vmtest/internal/host"
)

// deviceRoom is an upper bound for the state of a machine's devices, in bytes.
const deviceRoom = 4 << 20

// checkRoom returns a *host.Error unless the file system has room for the snapshot of a
// machine with that much memory, in MiB. The memory file is sparse, and SIGBUS kills a
// QEMU that gets no page for it.
func (s *Store) checkRoom(memory int) error {
	return host.CheckSpace(s.dir, int64(memory)<<20+deviceRoom, "a new snapshot")
}

// IsFull reports whether the file system of a file has no room left. Other writers may
// fill it while a snapshot is written.
func IsFull(f *os.File) bool {
	free, err := host.FreeSpace(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	return err == nil && free < 1<<20
}
