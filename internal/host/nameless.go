package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Nameless makes an empty file without a name in the file system of a directory of
// the cache (open(2), O_TMPFILE). The caller closes it, and the kernel then removes
// it. Its errors are *Error.
func Nameless(dir string) (*os.File, error) {
	for {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return os.NewFile(uintptr(fd), "unnamed file in "+dir), nil
		}
		if err != unix.EINTR {
			return nil, namelessError(dir, err)
		}
	}
}

func namelessError(dir string, errno error) error {
	err := &fs.PathError{Op: "open", Path: dir, Err: errno}
	// A kernel without O_TMPFILE sees O_DIRECTORY opened for writing: EISDIR.
	if errors.Is(errno, unix.EOPNOTSUPP) || errors.Is(errno, unix.EISDIR) {
		return &Error{
			Cause: fmt.Sprintf("file system of %s lacks O_TMPFILE", dir),
			Cure:  localCache,
			Check: CacheDirectory,
			Err:   err,
		}
	}
	return cacheError("make a file without a name", err)
}

// localCache is the cure for a file system that lacks something.
const localCache = "set VMTEST_CACHE to a directory on a local disk (ext4, xfs, btrfs or tmpfs)"
