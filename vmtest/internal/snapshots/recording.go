package snapshots

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
)

// Scratch returns empty files for a snapshot that is not in the store, of a machine
// with that much memory in MiB. They have no name, so the kernel frees them when they
// are closed or the process dies. The caller closes them. The error is a *host.Error
// if they would not fit.
func (s *Store) Scratch(memory int) (_ *Files, err error) {
	if err := checkRoom(s.dir, memory); err != nil {
		return nil, err
	}
	files := &Files{dir: s.dir}
	for _, file := range []**os.File{&files.RAM, &files.State, &files.Moment} {
		if *file, err = s.Nameless(); err != nil {
			files.Close()
			return nil, err
		}
	}
	return files, nil
}

// ScratchIn is Scratch in the file system of a directory that is no store.
func ScratchIn(dir string, memory int) (*Files, error) { return (&Store{dir: dir}).Scratch(memory) }

// Nameless returns an empty file in the store's file system that has no name. The
// caller closes it, and the kernel then frees it.
func (s *Store) Nameless() (*os.File, error) { return host.Nameless(s.dir) }

// record returns files that fill has filled. The caller closes them.
func (s *Store) record(info Info, fill func(*Files) error) (*Files, error) {
	files, err := s.Scratch(info.Memory)
	if err != nil {
		return nil, err
	}
	files.Info = info
	filled := false
	defer func() {
		if !filled { // also if fill ended the goroutine
			files.Close()
		}
	}()
	if err := fill(files); err != nil {
		return nil, err
	}
	filled = true
	return files, nil
}

// save names the files in dir and describes them.
func save(files *Files, dir string) (err error) {
	info := files.Info
	for name, f := range map[string]*os.File{ramName: files.RAM, stateName: files.State, momentName: files.Moment} {
		// On disk before it has a name: after a power cut a name is a whole file.
		if err := f.Sync(); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
		self := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, filepath.Join(dir, name), unix.AT_SYMLINK_FOLLOW); err != nil {
			return fmt.Errorf("name snapshot's %s: %w", name, err)
		}
	}
	if info.RAM, err = identify(files.RAM); err != nil {
		return err
	}
	if info.State, err = digest(files.State); err != nil {
		return err
	}
	if info.Moment, err = digest(files.Moment); err != nil {
		return err
	}
	info.Created = time.Now().UTC()
	data, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, infoName), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("describe snapshot: %w", err)
	}
	return nil
}
