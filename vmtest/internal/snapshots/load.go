package snapshots

import (
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

	"example.org/systemd-vmtest/internal/host"
)

// load opens a snapshot for use and checks that it is what was made. The error is
// fs.ErrNotExist if there is none, or if it is being replaced or removed.
func (s *Store) load(want Info) (_ *Files, err error) {
	dir := s.path(want.Key)
	use := flock.New(dir, flock.SetFlag(os.O_RDONLY))
	ok, err := use.TryRLock()
	if err != nil {
		return nil, fmt.Errorf("use snapshot: %w", err)
	}
	if !ok {
		return nil, fmt.Errorf("use snapshot: it is being removed: %w", fs.ErrNotExist)
	}
	files := &Files{store: s, use: use, key: want.Key}
	err = s.fill(files, dir, want)
	if !named(use) {
		err = fmt.Errorf("use snapshot: it was replaced: %w", fs.ErrNotExist)
	}
	if err == nil {
		err = touch(dir)
	}
	if err != nil {
		files.Close()
		return nil, err
	}
	return files, nil
}

// fill opens the files of the snapshot in dir and checks them.
func (s *Store) fill(files *Files, dir string, want Info) error {
	info, err := readInfo(dir)
	if err != nil {
		return err
	}
	if info.Key != want.Key {
		return fmt.Errorf("it is another one, %.12s", info.Key)
	}
	if files.RAM, err = os.OpenFile(filepath.Join(dir, ramName), os.O_RDWR, 0); err != nil {
		return unreadable(err)
	}
	if files.State, err = os.Open(filepath.Join(dir, stateName)); err != nil {
		return unreadable(err)
	}
	if files.Moment, err = os.Open(filepath.Join(dir, momentName)); err != nil {
		return unreadable(err)
	}
	now, err := identify(files.RAM)
	if err != nil {
		return err
	}
	if now != info.RAM {
		return errors.New("its memory was altered")
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
			return err
		}
		if sum != part.want {
			return fmt.Errorf("its %s was altered", part.name)
		}
	}
	if s.Check != nil {
		return s.Check(files)
	}
	return nil
}

// unreadable hides the kind of err: a snapshot that lacks a file is not a missing
// snapshot.
func unreadable(err error) error { return fmt.Errorf("it cannot be read: %v", err) }

func readInfo(dir string) (Info, error) {
	data, err := os.ReadFile(filepath.Join(dir, infoName))
	if err != nil {
		return Info{}, unreadable(err)
	}
	return parseInfo(data)
}

func parseInfo(data []byte) (Info, error) {
	var info Info
	if err := json.Unmarshal(data, &info); err != nil {
		return Info{}, fmt.Errorf("its description is torn: %v", err)
	}
	if info.Format != format {
		return Info{}, fmt.Errorf("it is of format %d, not %d", info.Format, format)
	}
	return info, nil
}

// touch notes the time of the last use, as the directory's own.
func touch(dir string) error {
	now := time.Now()
	return os.Chtimes(dir, now, now)
}

func identify(f *os.File) (host.Identity, error) {
	info, err := f.Stat()
	if err != nil {
		return host.Identity{}, err
	}
	return host.Identify(info)
}

func digest(f *os.File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<40)); err != nil {
		return "", fmt.Errorf("hash %s: %w", filepath.Base(f.Name()), err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
