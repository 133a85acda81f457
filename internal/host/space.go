package host

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"golang.org/x/sys/unix"
)

// FreeSpace returns the bytes that an ordinary user can still write to the file
// system of a path. For a file system that counts no blocks it is math.MaxInt64.
func FreeSpace(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("find free space: %w", &fs.PathError{Op: "statfs", Path: path, Err: err})
	}
	if st.Blocks == 0 {
		return math.MaxInt64, nil
	}
	return int64(st.Bavail) * cmp.Or(st.Frsize, st.Bsize), nil
}

// CheckSpace returns an *Error if the file system of dir has less than need bytes
// free. doing names what needs them.
func CheckSpace(dir string, need int64, doing string) error {
	free, err := FreeSpace(dir)
	if err != nil || free >= need {
		return err
	}
	return noSpace(fmt.Sprintf("%s has %d MB free, %s needs %d MB", dir, free/1e6, doing, need/1e6), nil)
}

// NoSpace returns err as an *Error with the cure if its reason is a full disk. It
// returns any other error, and one that wraps an *Error, as it is.
func NoSpace(err error) error {
	var known *Error
	if errors.As(err, &known) || !isFull(err) {
		return err
	}
	return noSpace(err.Error(), err)
}

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// SpaceCure is what a person can do about a full disk.
const SpaceCure = "free some, for example by \"vmtest snapshot prune --limit 0\", " +
	"or move the cache with VMTEST_CACHE and temporary files with TMPDIR"

func noSpace(cause string, err error) *Error {
	return &Error{Cause: "no space: " + cause, Cure: SpaceCure, Check: Disk, Err: err}
}
