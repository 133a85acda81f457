package snapshots

import (
	"io/fs"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
)

// deviceRoom is an upper bound for the state of a machine's devices, in bytes.
const deviceRoom = 4 << 20

// checkRoom returns a *host.Error unless the file system of a directory has room for the
// snapshot of a machine with that much memory, in MiB. The memory file is sparse, and SIGBUS
// kills a QEMU that gets no page for it.
func checkRoom(dir string, memory int) error {
	return host.CheckSpace(dir, int64(memory)<<20+deviceRoom, "a new snapshot")
}

// CheckRoom looks again for what Scratch has found: the machine may have been prepared
// since, and others write too.
func (f *Files) CheckRoom(memory int) error { return checkRoom(f.dir, memory) }

// Full returns an error, an ENOSPC with the path, if the file system of empty files has no
// room left. Other writers may fill it while a snapshot is written, and QEMU then reports a
// SIGBUS or an input/output error.
func (f *Files) Full() error {
	if free, err := host.FreeSpace(f.dir); err != nil || free >= 1<<20 {
		return nil // the caller has an error of its own
	}
	return &fs.PathError{Op: "write", Path: f.dir, Err: unix.ENOSPC}
}
