// Package snapshots keeps snapshots of machines on disk, each under a key. The key is
// the digest of all that the snapshot depends on.
package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/inputs"
)

// Store is a directory of snapshots. A snapshot KEY is the directory KEY in it. While
// the snapshot is made or removed there is a lock KEY.lock, and while it is made a
// directory .new-KEY-*.
//
// A process that uses a snapshot holds a shared flock(2) on the directory KEY.
type Store struct {
	dir string

	// Check, if not nil, returns an error for an intact snapshot that this process
	// cannot use, an *OutdatedError if it was right once. Open replaces such a snapshot,
	// unless the error wraps that of a system call or Open's context has ended.
	Check func(*Files) error
}

// OpenCached returns the store in the cache, which host.Cache makes and checks. A snapshot
// holds a machine's memory, and QEMU parses what lies in it, so it is for its owner alone.
func OpenCached() (*Store, error) {
	dir, err := host.Cache("snapshots")
	if err != nil {
		return nil, err
	}
	return &Store{dir: dir}, nil
}

// Info describes a snapshot. It is stored with it as JSON.
type Info struct {
	Format  int           `json:"format"`
	Key     string        `json:"key"`
	Image   string        `json:"image"`
	Memory  int           `json:"memory"` // MiB
	Created time.Time     `json:"created"`
	RAM     host.Identity `json:"ram"`
	State   string        `json:"state"`  // SHA-256 of the device state
	Moment  string        `json:"moment"` // SHA-256 of the file of that name

	Template *Template `json:"template,omitempty"` // nil if the machine has just booted
}

// Template says how the machine of a snapshot was prepared.
type Template struct {
	Name    string         `json:"name"`
	Package string         `json:"package"` // of the test binary
	Dir     string         `json:"dir"`     // in which the test ran
	Inputs  []inputs.Input `json:"inputs"`
	Tested  []string       `json:"tested,omitempty"` // units under test, as vmtest names them
}

// OutdatedError reports that a snapshot no longer has the content that its key stands for.
type OutdatedError struct{ Reason string }

func (e *OutdatedError) Error() string { return e.Reason }

// Format is the version of this layout. It belongs into each key, so that programs with
// another one do not replace each other's snapshots.
const Format = 5

const (
	ramName    = "ram"
	stateName  = "state"
	momentName = "moment"
	infoName   = "snapshot.json"
)

func (s *Store) path(key string) string { return filepath.Join(s.dir, key) }

// Open returns the snapshot with the key of info. If there is none, or if it is
// damaged, Open calls fill for empty files. fill may complete their Info. Meanwhile other
// processes that open the same snapshot wait, until it is made and no longer. Open calls
// notice with the reason why it makes a snapshot again, and when it waits for another
// process.
//
// A snapshot can be intact and still fail to load; see Files.Discard.
func (s *Store) Open(ctx context.Context, info Info, notice func(string), fill func(*Files) error) (files *Files, err error) {
	info.Format = Format
	if files, err = s.load(ctx, info); err == nil || !replaceable(err) {
		return files, err
	}
	lock, err := s.lock(ctx, info.Key, func() { notice("waiting for another process that makes the snapshot") })
	if err != nil {
		return nil, err
	}
	defer func() {
		if fault := lock.Remove(); fault != nil && err == nil {
			err = errors.Join(fault, files.Close())
			files = nil
		}
	}()
	files, err = s.load(ctx, info) // another process may have made it
	switch {
	case err == nil || !replaceable(err):
		return files, err
	case errors.As(err, new(*OutdatedError)):
		notice(fmt.Sprintf("%v; making it again", err))
	case !errors.Is(err, fs.ErrNotExist):
		notice(fmt.Sprintf("the snapshot is unusable (%v); making it again", err))
	}
	if err := s.create(info, fill); err != nil {
		return nil, err
	}
	if files, err = s.load(ctx, info); err != nil {
		return nil, fmt.Errorf("open the snapshot that was just made: %w", err)
	}
	return files, nil
}

// replaceable reports whether an error of load is a reason to make the snapshot.
func replaceable(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.As(err, new(damage))
}

// create makes the snapshot, in place of any that is there. The caller holds the lock.
func (s *Store) create(info Info, fill func(*Files) error) error {
	if err := s.sweep(info.Key); err != nil {
		return err
	}
	files, err := s.record(info, fill)
	if err != nil {
		return err
	}
	defer files.Close()
	dir, err := os.MkdirTemp(s.dir, newPrefix+info.Key+"-")
	if err != nil {
		return fmt.Errorf("make snapshot directory: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := save(files, dir); err != nil {
		return err
	}
	if err := os.Rename(dir, s.path(info.Key)); err != nil {
		return fmt.Errorf("name snapshot: %w", err)
	}
	return nil
}

// newPrefix begins the name of a directory for a snapshot that is being made.
const newPrefix = ".new-"

// sweep removes a snapshot, and what killed processes left of it. The caller holds the
// lock. Processes that use the snapshot have its files open and go on.
func (s *Store) sweep(key string) error {
	left, err := fs.Glob(os.DirFS(s.dir), newPrefix+key+"-*")
	if err != nil {
		return err
	}
	for _, name := range append(left, key) {
		if err := os.RemoveAll(s.path(name)); err != nil {
			return fmt.Errorf("remove old snapshot: %w", err)
		}
	}
	return nil
}
