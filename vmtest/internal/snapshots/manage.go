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

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// ErrInUse says that a process has machines that run on a snapshot.
var ErrInUse = errors.New("it is in use")

// DefaultLimit is how much the snapshots of a cache may take together, in bytes:
// some twenty of them.
const DefaultLimit = 4 << 30

// Listed is a snapshot as a person sees it.
type Listed struct {
	Info
	Bytes int64     // on disk; the memory file is sparse
	Used  time.Time // the last time that a process opened it
	Fault error     // why it will not be used, or nil
}

// List returns all snapshots, the one that was used last first.
func (s *Store) List() ([]Listed, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var list []Listed
	for _, e := range entries {
		if !e.IsDir() || !keys.MatchString(e.Name()) {
			continue // in the making, or none of ours, such as lost+found
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
	dir := filepath.Join(s.dir, key)
	folder, err := os.Stat(dir)
	if err != nil {
		return Listed{}, err
	}
	l := Listed{Used: folder.ModTime()}
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

// keys are SHA-256 digests or, in short, the beginning of one.
var keys = regexp.MustCompile("^[0-9a-f]{12,64}$")

// Remove removes a snapshot, named by its key or the beginning of it. The error
// wraps ErrInUse when a process uses it, and fs.ErrNotExist when there is none.
func (s *Store) Remove(key string) error {
	if !keys.MatchString(key) {
		return fmt.Errorf("remove snapshot %q: that is no key of one", key)
	}
	// Twelve digits tell SHA-256 digests apart; a lock's name ends in no digit.
	found, err := fs.Glob(os.DirFS(s.dir), key[:12]+"*[0-9a-f]")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(found, func(name string) bool { return strings.HasPrefix(name, key) })
	if i < 0 {
		return fmt.Errorf("remove snapshot %.12s: %w", key, fs.ErrNotExist)
	}
	key = found[i]
	lock := flock.New(s.lockPath(key), flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock snapshot: %w", err)
	}
	if !ok {
		return fmt.Errorf("remove snapshot %.12s: %w", key, ErrInUse)
	}
	defer lock.Close()
	return s.sweep(key)
}

// Prune removes snapshots, the one unused for longest first, until those that are
// left take no more than limit bytes. Those in use stay. It returns the removed
// ones.
func (s *Store) Prune(limit int64) ([]Listed, error) {
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

func (s *Store) lockPath(key string) string { return filepath.Join(s.dir, key+".lock") }
