// Package snapshots keeps snapshots of machines on disk, each under a key that is
// the digest of everything that it depends on.
package snapshots

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"example.org/systemd-vmtest/images"
)

// Store is a folder of snapshots. Of a snapshot KEY it holds the folder KEY, the
// lock KEY.lock, and while it is made a folder .new-KEY-*.
type Store struct {
	dir string

	// Check, when not nil, says of a snapshot that is whole why it is of no use.
	Check func(*Files) error
}

// OpenStore returns the store in a folder, which is made when it is not there. All
// in it is its owner's alone: a snapshot holds a machine's memory.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open snapshot store: %w", err)
	}
	return &Store{dir: dir}, nil
}

// OpenCached returns the store in the cache (see images.CacheDir).
func OpenCached() (*Store, error) {
	cache, err := images.CacheDir()
	if err != nil {
		return nil, err
	}
	return OpenStore(filepath.Join(cache, "snapshots"))
}

// Info describes a snapshot; it is stored with it as JSON.
type Info struct {
	Format  int             `json:"format"`
	Key     string          `json:"key"`
	Image   string          `json:"image"`
	Memory  int             `json:"memory"` // MiB
	Created time.Time       `json:"created"`
	RAM     images.Identity `json:"ram"`
	State   string          `json:"state"`  // SHA-256 of the device state
	Moment  string          `json:"moment"` // SHA-256 of the file of that name
}

// format is the version of this layout.
const format = 2

const (
	ramName    = "ram"
	stateName  = "state"
	momentName = "moment"
	infoName   = "snapshot.json"
)

// lockPoll is how often a lock that another process holds is tried again.
const lockPoll = 50 * time.Millisecond

// Files are the files of a snapshot, open. Closing them gives up the snapshot, which
// may be removed from the store from then on.
type Files struct {
	RAM    *os.File     // the guest's memory
	State  *os.File     // the devices' state
	Moment *os.File     // what the host knows of its moment with the guest
	use    *flock.Flock // nil for a snapshot that is not in the store
}

// Close closes the files.
func (f *Files) Close() error {
	err := f.closeAll()
	if f.use != nil {
		err = errors.Join(err, f.use.Close())
	}
	return err
}

// closeAll closes those that are open.
func (f *Files) closeAll() error {
	var errs []error
	for _, file := range []*os.File{f.RAM, f.State, f.Moment} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(errs...)
}

// Open returns the snapshot of that key. When there is none, or it is torn or
// altered, make is called to fill empty files, while other processes that want
// the same snapshot wait. notice is told why a snapshot is made again, or that
// another process makes it.
func (s *Store) Open(ctx context.Context, info Info, notice func(string), make func(*Files) error) (*Files, error) {
	info.Format = format
	lock := flock.New(s.lockPath(info.Key), flock.SetPermissions(0o600))
	for made := false; ; made = true {
		// Whoever uses a snapshot holds its lock shared; whoever makes or removes
		// it, alone.
		if ok, err := lock.TryRLock(); err != nil {
			return nil, fmt.Errorf("lock snapshot: %w", err)
		} else if !ok {
			notice("waiting for another process that makes the snapshot")
			if _, err := lock.TryRLockContext(ctx, lockPoll); err != nil {
				return nil, fmt.Errorf("wait for snapshot: %w", err)
			}
		}
		files, err := s.load(info)
		if err == nil {
			files.use = lock
			return files, nil
		}
		if made {
			lock.Close()
			return nil, fmt.Errorf("open the snapshot that was just made: %w", err)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			notice(fmt.Sprintf("the snapshot is of no use (%v); making it again", err))
		}
		if err := lock.Unlock(); err != nil {
			return nil, fmt.Errorf("unlock snapshot: %w", err)
		}
		if err := s.create(ctx, lock, info, notice, make); err != nil {
			lock.Close()
			return nil, err
		}
	}
}

// create makes the snapshot unless another process did so meanwhile.
func (s *Store) create(ctx context.Context, lock *flock.Flock, info Info, notice func(string), make func(*Files) error) error {
	if ok, err := lock.TryLock(); err != nil {
		return fmt.Errorf("lock snapshot: %w", err)
	} else if !ok {
		notice("waiting for other processes that use or make the snapshot")
		if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
			return fmt.Errorf("wait for snapshot: %w", err)
		}
	}
	defer lock.Unlock()
	if files, err := s.load(info); err == nil {
		return files.Close()
	}
	if err := s.sweep(info.Key); err != nil {
		return err
	}
	files, err := s.record(info.Memory, make)
	if err != nil {
		return err
	}
	defer files.Close()
	dir, err := os.MkdirTemp(s.dir, ".new-"+info.Key+"-")
	if err != nil {
		return fmt.Errorf("make snapshot folder: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := save(files, dir, info); err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(s.dir, info.Key)); err != nil {
		return fmt.Errorf("name snapshot: %w", err)
	}
	return nil
}

// sweep removes what stands in the way: a snapshot of no use, and what killed
// processes left half-made. The caller holds the lock.
func (s *Store) sweep(key string) error {
	left, err := fs.Glob(os.DirFS(s.dir), ".new-"+key+"-*")
	if err != nil {
		return err
	}
	for _, name := range append(left, key) {
		if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("remove old snapshot: %w", err)
		}
	}
	return nil
}

// load opens a snapshot and checks that it is what was made. The error is
// fs.ErrNotExist when there is none.
func (s *Store) load(want Info) (_ *Files, err error) {
	dir := filepath.Join(s.dir, want.Key)
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	info, err := readInfo(dir)
	if err != nil {
		return nil, err
	}
	if info.Key != want.Key {
		return nil, fmt.Errorf("it is another one, %.12s", info.Key)
	}
	files := &Files{}
	defer func() {
		if err != nil {
			files.closeAll()
		}
	}()
	if files.RAM, err = os.OpenFile(filepath.Join(dir, ramName), os.O_RDWR, 0); err != nil {
		return nil, unreadable(err)
	}
	if files.State, err = os.Open(filepath.Join(dir, stateName)); err != nil {
		return nil, unreadable(err)
	}
	if files.Moment, err = os.Open(filepath.Join(dir, momentName)); err != nil {
		return nil, unreadable(err)
	}
	now, err := identify(files.RAM)
	if err != nil {
		return nil, err
	}
	if now != info.RAM {
		return nil, errors.New("its memory was altered")
	}
	for _, part := range []struct {
		file *os.File
		want string
		name string
	}{
		{files.State, info.State, "device state"},
		{files.Moment, info.Moment, "moment"},
	} {
		sum, err := digest(part.file)
		if err != nil {
			return nil, err
		}
		if sum != part.want {
			return nil, fmt.Errorf("its %s was altered", part.name)
		}
	}
	if s.Check != nil {
		if err := s.Check(files); err != nil {
			return nil, err
		}
	}
	return files, touch(dir)
}

// unreadable keeps a missing file of a snapshot that is there from being taken for
// a missing snapshot.
func unreadable(err error) error { return fmt.Errorf("it cannot be read: %v", err) }

func readInfo(dir string) (Info, error) {
	var info Info
	data, err := os.ReadFile(filepath.Join(dir, infoName))
	if err != nil {
		return info, unreadable(err)
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return info, fmt.Errorf("its description is torn: %v", err)
	}
	if info.Format != format {
		return info, fmt.Errorf("it is of format %d, not %d", info.Format, format)
	}
	return info, nil
}

// touch notes the time of the last use, as the folder's own.
func touch(dir string) error {
	now := time.Now()
	return os.Chtimes(dir, now, now)
}

func identify(f *os.File) (images.Identity, error) {
	info, err := f.Stat()
	if err != nil {
		return images.Identity{}, err
	}
	return images.Identify(info)
}

func digest(f *os.File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<40)); err != nil {
		return "", fmt.Errorf("hash %s: %w", filepath.Base(f.Name()), err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
