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
	"syscall"
	"time"

	"example.org/systemd-vmtest/internal/host"
)

// damage is a reason to make a snapshot again. It hides the kind of its cause: a snapshot
// that lacks a file is not a missing snapshot.
type damage struct{ cause error }

func (d damage) Error() string { return d.cause.Error() }

// As finds an OutdatedError, which is of no file.
func (d damage) As(target any) bool {
	t, ok := target.(**OutdatedError)
	return ok && errors.As(d.cause, t)
}

// load opens a snapshot for use and checks that it is what was made. The error is
// fs.ErrNotExist if there is none, or if it is being replaced or removed. It is a damage
// if the snapshot must be made again. Any other error says nothing about the snapshot.
func (s *Store) load(ctx context.Context, want Info) (_ *Files, err error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("use snapshot: %w", context.Cause(ctx))
	}
	dir := s.path(want.Key)
	use, err := host.TryRLockDir(dir)
	if errors.Is(err, host.ErrLocked) {
		return nil, fmt.Errorf("use snapshot: another process removes it: %w", fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("use snapshot: %w", err)
	}
	files := &Files{store: s, use: use, key: want.Key}
	err = s.fill(files, dir, want)
	if err != nil && ctx.Err() != nil { // which also ends Check
		err = fmt.Errorf("use snapshot: %w", context.Cause(ctx))
	} else if named, fault := use.Named(); fault != nil {
		err = fmt.Errorf("use snapshot: %w", fault)
	} else if !named {
		err = fmt.Errorf("use snapshot: replaced meanwhile: %w", fs.ErrNotExist)
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
		return damage{fmt.Errorf("snapshot.json names key %.12s", info.Key)}
	}
	files.Info = info
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
		return damage{errors.New("its memory was altered")}
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
			return damage{fmt.Errorf("its %s was altered", part.name)}
		}
	}
	if s.Check == nil {
		return nil
	}
	if err := s.Check(files); err != nil {
		if errors.As(err, new(syscall.Errno)) { // of the host, not of the snapshot
			return fmt.Errorf("check snapshot: %w", err)
		}
		return damage{err}
	}
	return nil
}

// unreadable returns the error of a file that could not be opened or read. It is a damage
// if the file is absent or is none. This process may lack something else, such as a free
// file descriptor.
func unreadable(err error) error {
	err = fmt.Errorf("it cannot be read: %w", err)
	for _, kind := range []syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP} {
		if errors.Is(err, kind) {
			return damage{err}
		}
	}
	return err
}

// Info returns the description of a snapshot, which may not be usable.
func (s *Store) Info(key string) (Info, error) { return readInfo(s.path(key)) }

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
		return Info{}, damage{fmt.Errorf("parse %s: %w", infoName, err)}
	}
	if info.Format != Format {
		return Info{}, damage{fmt.Errorf("its format is %d, this program needs %d", info.Format, Format)}
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
