package snapshots

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
)

// ErrInUse reports that a process uses a snapshot or makes it.
var ErrInUse = errors.New("snapshot in use")

// DefaultLimit bounds the size of all snapshots of a cache together, in bytes. Some
// twenty snapshots fit.
const DefaultLimit = 4 << 30

// Listed is an entry of a list of snapshots.
type Listed struct {
	Info
	Bytes int64     // on disk; the memory file is sparse
	Used  time.Time // when a process last opened it
	Fault error     // why Open would not use it, or nil
}

// List returns all snapshots, the most recently used first.
func (s *Store) List() ([]Listed, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var list []Listed
	for _, e := range entries {
		if !e.IsDir() || !keys.MatchString(e.Name()) {
			continue // being made, or not a snapshot, such as lost+found
		}
		l, err := s.describe(e.Name())
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b Listed) int { return b.Used.Compare(a.Used) })
	return list, nil
}

func (s *Store) describe(key string) (Listed, error) {
	dir := s.path(key)
	info, err := os.Stat(dir)
	if err != nil {
		return Listed{}, err
	}
	l := Listed{Used: info.ModTime()}
	l.Info, l.Fault = readInfo(dir)
	l.Key = key
	files, err := os.ReadDir(dir)
	if err != nil {
		return Listed{}, err
	}
	for _, f := range files {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, f.Name()), &st); err != nil {
			return Listed{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
		}
		l.Bytes += st.Blocks * 512
	}
	return l, nil
}

// keys are SHA-256 digests, or their beginnings.
var keys = regexp.MustCompile("^[0-9a-f]{12,64}$")

// Remove removes a snapshot, named by its key or the beginning of it. The error wraps
// ErrInUse if a process uses it, and fs.ErrNotExist if there is none.
func (s *Store) Remove(key string) error {
	if !keys.MatchString(key) {
		return fmt.Errorf("remove snapshot %q: not a key", key)
	}
	// Twelve digits tell SHA-256 digests apart. The name of a lock ends in no digit.
	found, err := fs.Glob(os.DirFS(s.dir), key[:12]+"*[0-9a-f]")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(found, func(name string) bool { return strings.HasPrefix(name, key) })
	if i < 0 {
		return fmt.Errorf("remove snapshot %.12s: %w", key, fs.ErrNotExist)
	}
	key = found[i]
	err = s.whileUnused(key, func() error {
		use, err := host.TryLockDir(s.path(key))
		if errors.Is(err, host.ErrLocked) {
			return ErrInUse
		}
		if err != nil {
			return err
		}
		defer use.Close()
		return s.sweep(key)
	})
	if err != nil {
		return fmt.Errorf("remove snapshot %.12s: %w", key, err)
	}
	return nil
}

// whileUnused calls do with the lock of a key, or returns ErrInUse if another process
// holds that lock.
func (s *Store) whileUnused(key string, do func() error) error {
	lock, err := host.TryLockFile(s.lockPath(key))
	if errors.Is(err, host.ErrLocked) {
		return ErrInUse
	}
	if err != nil {
		return err
	}
	return errors.Join(do(), lock.Remove())
}

// leftovers are what a killed process leaves: locks, and snapshots that are half made.
var leftovers = regexp.MustCompile(`^(?:([0-9a-f]{12,64})\.lock|\.new-([0-9a-f]{12,64})-.*)$`)

// removeLeftovers removes what killed processes have left.
func (s *Store) removeLeftovers() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("clean up snapshots: %w", err)
	}
	for _, e := range entries {
		m := leftovers.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		err := s.whileUnused(m[1]+m[2], func() error { // which also removes the lock
			if m[2] == "" {
				return nil
			}
			return os.RemoveAll(s.path(e.Name()))
		})
		if err != nil && !errors.Is(err, ErrInUse) {
			return fmt.Errorf("clean up snapshots: %w", err)
		}
	}
	return nil
}

// Prune removes snapshots, the one unused for longest first, until the others take no
// more than limit bytes. It spares those that a process uses. It also removes what
// killed processes have left. It returns the snapshots that it removed.
func (s *Store) Prune(limit int64) ([]Listed, error) {
	if err := s.removeLeftovers(); err != nil {
		return nil, err
	}
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	var sum int64
	for _, l := range list {
		sum += l.Bytes
	}
	var removed []Listed
	for _, l := range slices.Backward(list) {
		if sum <= limit {
			break
		}
		switch err := s.Remove(l.Key); {
		case errors.Is(err, ErrInUse):
			continue
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return removed, err
		}
		sum -= l.Bytes
		removed = append(removed, l)
	}
	return removed, nil
}
