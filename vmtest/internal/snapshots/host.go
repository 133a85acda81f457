package snapshots

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
)

const cacheCure = "set VMTEST_CACHE to a directory "

// checkOwner returns a *host.Error if a directory belongs to another user, or if
// other users may write it.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("check the owner of %s: %w", dir, err)
	}
	var cause string
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		cause = "it is not a directory"
	case ok && int(st.Uid) != os.Geteuid():
		cause = fmt.Sprintf("it belongs to user %d, not to user %d", st.Uid, os.Geteuid())
	case info.Mode().Perm()&0o022 != 0:
		cause = fmt.Sprintf("other users may write it (mode %04o)", info.Mode().Perm())
	default:
		return nil
	}
	return &host.Error{
		Cause: fmt.Sprintf("refuse the cache directory %s: %s", dir, cause),
		Cure:  cacheCure + "that only its owner may write",
	}
}

// nameless returns an empty file in the file system of a directory. It has no name
// (open(2), O_TMPFILE), so the kernel frees it when it is closed.
func nameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), "unnamed file in "+dir), nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR):
		return nil, &host.Error{
			Cause: fmt.Sprintf("make a file in %s: its file system has no files without a name (O_TMPFILE)", dir),
			Cure:  cacheCure + "on ext4, XFS, Btrfs or tmpfs; NFS has none",
			Err:   err,
		}
	}
	return nil, &os.PathError{Op: "make a file in", Path: dir, Err: err}
}
