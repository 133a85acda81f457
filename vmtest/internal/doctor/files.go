package doctor

import (
	"cmp"
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
		return unmeasured(err) // guests of an image that is there may still run
	}
	free, err := host.FreeSpace(dir)
	if err != nil {
		return unmeasured(err)
	}
	return Finding{State: OK, Found: fmt.Sprintf("%d MB free in %s; an image takes some 250 MB, and a snapshot 150 MB", free/1e6, dir)}
}

// unmeasured returns the finding for an error of a directory that has no room, or whose room
// is not known.
func unmeasured(err error) Finding {
	f := of(Note, err)
	if failed, ok := errors.AsType[*fs.PathError](err); ok && f.Cure == "" {
		f.Cure = "set VMTEST_CACHE to a directory where this user can write"
		if failed.Path == os.TempDir() {
			f.Cure = temporaryCure
		}
	}
	return f
}

const temporaryCure = "set TMPDIR to a directory where this user can write"

// temporaryFiles looks whether files can be written and run in the directory for them.
func temporaryFiles(context.Context) Finding {
	dir := os.TempDir()
	f, err := os.CreateTemp(dir, "vmtest-doctor-")
	if err != nil {
		return Finding{State: Fault, Found: err.Error(), Cure: temporaryCure}
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
		f, err := host.Nameless(dir) // root passes access(2), whatever the file system can do
		if err != nil {
			fault := of(Fault, err)
			fault.Found = fmt.Sprintf("%s is not there, and cannot be made: %s", root, fault.Found)
			fault.Cure = "set VMTEST_CACHE to a directory on a local disk where this user can write"
			return fault
		}
		f.Close()
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
	found := root + ": " + count(len(list), "image")
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
	found += fmt.Sprintf(", %s of %d MB", count(len(kept), "snapshot"), bytes/1e6)
	return withFaults(found, kept)
}

// withFaults adds the snapshots that are unusable to what was found.
func withFaults(found string, kept []snapshots.Listed) Finding {
	f := Finding{State: OK, Found: found}
	for _, s := range kept {
		if s.Fault == nil {
			continue
		}
		f.State = Note
		f.Found += oneLine(fmt.Sprintf("; snapshot %.12s is unusable: %v", s.Key, s.Fault))
		f.Cure = cmp.Or(f.Cure, "run vmtest snapshot rm") + fmt.Sprintf(" %.12s", s.Key)
	}
	return f
}

// count returns a number of things, such as "1 image".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
