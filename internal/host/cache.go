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
			return "", &Error{Cause: fmt.Sprintf("VMTEST_CACHE is %q, not an absolute path", root), Check: CacheDirectory,
				Cure: "set VMTEST_CACHE to a path that begins with /"}
		}
		return filepath.Clean(root), nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", &Error{Cause: "find cache directory: " + err.Error(), Cure: "set VMTEST_CACHE", Check: CacheDirectory, Err: err}
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
		if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
			return "", cacheError("use cache directory", &fs.PathError{Op: "write", Path: dir, Err: err})
		}
	}
	return filepath.Join(root, name), nil
}

// Explain returns err as an *Error with the cure if its reason is a full disk, or if
// this user could not read or write a file below dir, a directory of the cache. It
// returns any other error, and one that wraps an *Error, as it is.
func Explain(err error, dir string) error {
	var known *Error
	if errors.As(err, &known) || !refused(err) {
		return NoSpace(err)
	}
	var path *fs.PathError
	var link *os.LinkError
	if errors.As(err, &path) && within(path.Path, dir) ||
		errors.As(err, &link) && (within(link.Old, dir) || within(link.New, dir)) {
		return &Error{Cause: err.Error(), Cure: writable, Check: CacheDirectory, Err: err}
	}
	return err
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

const (
	otherCache = "set VMTEST_CACHE to another directory"
	writable   = "make it readable and writable for this user, or " + otherCache
)

// cacheError returns an *Error about a file of the cache.
func cacheError(doing string, err error) error {
	if isFull(err) {
		return noSpace(doing+": "+err.Error(), err)
	}
	return &Error{Cause: doing + ": " + err.Error(), Cure: writable, Check: CacheDirectory, Err: err}
}

// refused reports whether a file system did not let this user read or write.
func refused(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)
}
