package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// errNotDir is the error of a path through something that is not a directory.
const errNotDir = unix.ENOTDIR

// Open opens the bundle at path, or in the directory of evidence there. It returns an error
// unless all files belong to this user alone and are as they were written. The caller closes
// the bundle.
func Open(ctx context.Context, path string) (*Bundle, error) {
	dir, err := find(path)
	if err != nil {
		return nil, fmt.Errorf("open machine: %w", err)
	}
	b := &Bundle{Snapshot: new(snapshots.Files)}
	if err := b.open(ctx, dir); err != nil {
		b.Close()
		return nil, fmt.Errorf("open machine in %s: %w", dir, err)
	}
	return b, nil
}

func (b *Bundle) open(ctx context.Context, dir string) error {
	at, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := host.CheckOwner(dir, at); err != nil {
		return err
	}
	f, err := openOwn(filepath.Join(dir, infoName), os.O_RDONLY)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxInfo))
	f.Close()
	if err != nil {
		return fmt.Errorf("read %s: %w", infoName, err)
	}
	if b.Info, err = parse(data); err != nil {
		return err
	}
	for name, file := range b.files() {
		mode := os.O_RDONLY
		if name == ramName { // QEMU asks for that, and its writes go to a copy
			mode = os.O_RDWR
		}
		*file, err = openOwn(filepath.Join(dir, name), mode)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s is missing", name)
		case err != nil:
			return err
		}
	}
	return b.verify(ctx)
}

// verify compares the files with the description.
func (b *Bundle) verify(ctx context.Context) error {
	var mu sync.Mutex
	var errs []error
	var checks sync.WaitGroup
	for name, file := range b.files() {
		checks.Go(func() {
			if err := verifyFile(ctx, name, *file, b.Info.Files[name]); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	checks.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

func verifyFile(ctx context.Context, name string, f *os.File, want File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != want.Size {
		return fmt.Errorf("%s has %d bytes instead of %d: it is not whole, or was altered", name, info.Size(), want.Size)
	}
	got, err := digestOf(ctx, name, f)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if got != want.Digest {
		return fmt.Errorf("%s was altered: its SHA-256 is %.16s instead of %.16s", name, got, want.Digest)
	}
	return nil
}

// openOwn opens a regular file that belongs to this user and that no other can write.
func openOwn(path string, mode int) (*os.File, error) {
	f, err := os.OpenFile(path, mode|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, fmt.Errorf("%s is not a regular file", filepath.Base(path))
	}
	if mode == os.O_RDWR && (errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)) {
		return nil, fmt.Errorf("%w: QEMU opens it for writing, though it writes nothing: copy the directory to where this user can write", err)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", filepath.Base(path))
	}
	if err == nil {
		err = host.CheckOwner(path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return tail.Printable(line)
}
