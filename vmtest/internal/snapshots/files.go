package snapshots

import (
	"context"
	"errors"
	"fmt"
	"os"

	"example.org/systemd-vmtest/internal/host"
)

// Files are the open files of a snapshot. Prune and Remove spare the snapshot until
// they are closed.
type Files struct {
	RAM    *os.File // the guest's memory
	State  *os.File // the devices' state
	Moment *os.File // what the host needs to resume the guest
	Info   Info     // zero for files of Scratch

	dir string // of empty files, for their room

	// Zero if the snapshot is not in a store.
	store *Store
	key   string
	use   *host.Lock // shared, on the snapshot's directory
}

// Close closes the files.
func (f *Files) Close() error {
	var errs []error
	for _, file := range []*os.File{f.RAM, f.State, f.Moment} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	if f.use != nil {
		errs = append(errs, f.use.Close())
	}
	return errors.Join(errs...)
}

// Discard closes the files and removes the snapshot from its store, so that the next
// Open makes it again. It is for a snapshot that is intact and that QEMU cannot load.
// Machines that run on it go on, in other processes too.
//
// Discard does nothing to a snapshot that another process has put in the place of this
// one. A caller that discards a snapshot, opens it again and cannot load that either
// should report an error and not discard it a second time: then no two processes make
// snapshots for each other without end.
func (f *Files) Discard(ctx context.Context) (err error) {
	if f.store == nil {
		return f.Close()
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lock, err := f.store.lock(ctx, f.key, func() {})
	if err != nil {
		return fmt.Errorf("discard snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Remove()) }()
	if named, err := f.use.Named(); !named {
		return err
	}
	return f.store.sweep(f.key)
}
