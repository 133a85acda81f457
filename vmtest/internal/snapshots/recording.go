package snapshots

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// recording is a snapshot in the making: two files without a name, which the kernel
// takes back when the process dies before it has named them.
type recording struct{ ram, state *os.File }

// Scratch returns two empty files for a snapshot that is not to be kept. They have
// no name and go when they are closed. The caller closes them.
func (s *Store) Scratch() (ram, state *os.File, err error) {
	if ram, err = nameless(s.dir); err != nil {
		return nil, nil, err
	}
	if state, err = nameless(s.dir); err != nil {
		ram.Close()
		return nil, nil, err
	}
	return ram, state, nil
}

// nameless returns an empty file in the file system of dir (open(2), O_TMPFILE).
func nameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a file in %s: %w", dir, err)
	}
	return os.NewFile(uintptr(fd), "unnamed file in "+dir), nil
}

// record has make fill the two files.
func (s *Store) record(make func(ram, state *os.File) error) (_ *recording, err error) {
	r := &recording{}
	if r.ram, r.state, err = s.Scratch(); err != nil {
		return nil, err
	}
	if err := make(r.ram, r.state); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// save names the files in dir and describes them.
func (r *recording) save(dir string, info Info) (err error) {
	for name, f := range map[string]*os.File{ramName: r.ram, stateName: r.state} {
		// On disk before it is named: what a power cut leaves may look whole.
		if err := f.Sync(); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
		self := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, filepath.Join(dir, name), unix.AT_SYMLINK_FOLLOW); err != nil {
			return fmt.Errorf("name snapshot's %s: %w", name, err)
		}
	}
	if info.RAM, err = identify(r.ram); err != nil {
		return err
	}
	if info.State, err = digest(r.state); err != nil {
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

func (r *recording) close() {
	r.ram.Close()
	r.state.Close()
}
