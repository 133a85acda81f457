package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// CacheDir returns the path of the cache: $VMTEST_CACHE, or systemd-vmtest in the
// user's cache directory. It does not look at the directory; see [Cache].
func CacheDir() (string, error) {
	if root := os.Getenv("VMTEST_CACHE"); root != "" {
		if !filepath.IsAbs(root) {
			// go test runs each package in its own directory, so each would get a cache.
			return "", &Error{Cause: fmt.Sprintf("VMTEST_CACHE is %q, not an absolute path", root),
				Cure: "set VMTEST_CACHE to a path that begins with /"}
		}
		return filepath.Clean(root), nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", &Error{Cause: "find cache directory: " + err.Error(), Cure: "set VMTEST_CACHE", Err: err}
	}
	return filepath.Join(base, "systemd-vmtest"), nil
}

// Cache returns the path of the cache's subdirectory name, or of the cache itself if
// name is empty. It makes the directories that are missing, for this user alone. An
// *Error reports a directory that this user cannot write or that others can.
func Cache(name string) (string, error) {
	root, err := CacheDir()
	if err != nil {
		return "", err
	}
	return CacheIn(root, name)
}

// CacheIn is [Cache] for the cache at the absolute path root.
func CacheIn(root, name string) (string, error) {
	for _, dir := range []string{root, filepath.Join(root, name)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", cacheError("make cache directory", err)
		}
		if err := checkPrivate(dir); err != nil {
			return "", err
		}
		if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
			return "", cacheError("use cache directory", &fs.PathError{Op: "write", Path: dir, Err: err})
		}
	}
	return filepath.Join(root, name), nil
}

const otherCache = "set VMTEST_CACHE to another directory"

// cacheError returns an *Error about a file of the cache.
func cacheError(doing string, err error) error {
	if isFull(err) {
		return noSpace(doing+": "+err.Error(), err)
	}
	return &Error{Cause: doing + ": " + err.Error(), Cure: "make it writable, or " + otherCache, Err: err}
}

// refused reports whether a file system did not let this user write.
func refused(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)
}
