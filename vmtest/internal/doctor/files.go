package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/images"
	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// existing returns the directory at path, or the nearest above it that exists.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// disk compares the free space with what a build takes.
func disk(context.Context) Finding {
	root, err := host.CacheDir()
	if err != nil {
		return of(Fault, err)
	}
	dir := existing(root)
	if err := images.CheckSpace(dir, os.TempDir()); err != nil {
		return of(Note, err) // guests of an image that is there may still run
	}
	free, err := host.FreeSpace(dir)
	if err != nil {
		return of(Note, err)
	}
	return Finding{State: OK, Found: fmt.Sprintf("%d MB free in %s; an image takes some 250 MB, and a snapshot 150 MB", free/1e6, dir)}
}

// temporaryFiles looks whether files can be written and run in the directory for them.
func temporaryFiles(context.Context) Finding {
	const cure = "set TMPDIR to a directory where this user can write"
	dir := os.TempDir()
	f, err := os.CreateTemp(dir, "vmtest-doctor-")
	if err != nil {
		return Finding{State: Fault, Found: err.Error(), Cure: cure}
	}
	defer os.Remove(f.Name())
	f.Close()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return of(Note, &fs.PathError{Op: "statfs", Path: dir, Err: err})
	}
	if st.Flags&unix.ST_NOEXEC != 0 {
		return Finding{State: Note, Found: dir + " is mounted noexec: go test runs no test from there",
			Cure: "set GOTMPDIR to a directory on another file system"}
	}
	return Finding{State: OK, Found: dir}
}

// cache looks at the cache's owner and mode, its file system, and what lies in it.
func cache(context.Context) Finding {
	root, err := host.CacheDir()
	if err != nil {
		return of(Fault, err)
	}
	if dir := existing(root); dir != root {
		if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
			return Finding{State: Fault, Found: fmt.Sprintf("%s is not there, and this user cannot make it: %s: %v", root, dir, err),
				Cure: "set VMTEST_CACHE to a directory where this user can write"}
		}
		return Finding{State: OK, Found: root + " is not there yet; the first guest makes it"}
	}
	if _, err := host.CacheIn(root, ""); err != nil {
		return of(Fault, err)
	}
	f, err := host.Nameless(root)
	if err != nil {
		return of(Fault, err)
	}
	f.Close()
	return cached(root)
}

// cached looks at the images and snapshots in the cache.
func cached(root string) Finding {
	list, err := images.List(images.Options{})
	if err != nil {
		return Finding{State: Note, Found: err.Error(), Cure: "run vmtest image rm NAME; the image is built again when it is needed"}
	}
	found := fmt.Sprintf("%s: %d images", root, len(list))
	if _, err := os.Stat(filepath.Join(root, "snapshots")); errors.Is(err, fs.ErrNotExist) {
		return Finding{State: OK, Found: found}
	}
	store, err := snapshots.OpenCached()
	if err != nil {
		return of(Fault, err)
	}
	kept, err := store.List()
	if err != nil {
		return of(Note, err)
	}
	var bytes int64
	for _, s := range kept {
		bytes += s.Bytes
	}
	found += fmt.Sprintf(", %d snapshots of %d MB", len(kept), bytes/1e6)
	for _, s := range kept {
		if s.Fault != nil {
			return Finding{State: Note, Found: fmt.Sprintf("%s; snapshot %.12s is unusable: %v", found, s.Key, s.Fault),
				Cure: fmt.Sprintf("run vmtest snapshot rm %.12s", s.Key)}
		}
	}
	return Finding{State: OK, Found: found}
}
