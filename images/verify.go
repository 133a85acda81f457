package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"example.org/systemd-vmtest/internal/host"
)

// verify compares an image's directory with its manifest, and returns the image. The
// error is a damage if they differ, and fs.ErrNotExist if there is no directory. It
// hashes the files whose identities the stamp does not have, and writes the stamp.
func verify(ctx context.Context, dir, stampPath, name string) (*Image, error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, damage("it is not a directory")
	}
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	if m.Name != name {
		return nil, damage(fmt.Sprintf("the directory holds %q", m.Name))
	}
	if m.Arch != runtime.GOARCH {
		return nil, damage(fmt.Sprintf("it was built for %s", m.Arch))
	}
	if err := verifyNames(dir, m.Files); err != nil {
		return nil, err
	}
	old, fresh := readStamp(stampPath), newStamp(dir, m)
	for _, want := range m.Files {
		var known host.Identity
		if old.Seal == m.Seal {
			known = old.Files[want.Path]
		}
		if fresh.Files[want.Path], err = verifyFile(ctx, dir, want, known); err != nil {
			return nil, err
		}
	}
	if !old.equal(fresh) {
		if err := fresh.write(stampPath); err != nil {
			return nil, err
		}
	}
	return &Image{Manifest: m, dir: dir, files: fresh.Files}, nil
}

// verifyFile compares a file with the manifest's entry, and returns its identity. It
// does not hash a file that still has the identity known.
func verifyFile(ctx context.Context, dir string, want File, known host.Identity) (host.Identity, error) {
	f, now, err := openRegular(filepath.Join(dir, filepath.FromSlash(want.Path)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return now, damage(want.Path + " is missing")
	case errors.Is(err, errNotRegular):
		return now, damage(want.Path + " is not a regular file")
	case err != nil:
		return now, fmt.Errorf("verify %s: %w", want.Path, err)
	}
	defer f.Close()
	if now.Size != want.Size {
		return now, damage(fmt.Sprintf("%s has %d bytes instead of %d", want.Path, now.Size, want.Size))
	}
	if now == known {
		return now, nil
	}
	got, err := hashFile(ctx, f, want.Path)
	if err != nil {
		return now, fmt.Errorf("verify %s: %w", want.Path, err)
	}
	if got != want {
		return now, damage(want.Path + " does not match its manifest")
	}
	return now, nil
}

// errNotRegular reports a name that is not that of a regular file.
var errNotRegular = errors.New("not a regular file")

// openRegular opens a file for reading and returns its identity. It neither follows a
// symbolic link nor waits for the writer of a FIFO.
func openRegular(path string) (*os.File, host.Identity, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) { // a link, a socket
		err = fmt.Errorf("open %s: %w", path, errNotRegular)
	}
	if err != nil {
		return nil, host.Identity{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %s: %w", path, errNotRegular)
	}
	var id host.Identity
	if err == nil {
		id, err = host.Identify(info)
	}
	if err != nil {
		return nil, id, errors.Join(err, f.Close())
	}
	return f, id, nil
}

// verifyNames looks for files that are missing, and for files that are not in the
// manifest: the initrd takes the modules directory whole.
func verifyNames(dir string, files []File) error {
	known := map[string]bool{manifestFile: true}
	for _, f := range files {
		known[f.Path] = true
	}
	found, err := listFiles(dir)
	if err != nil {
		return err
	}
	for _, path := range found {
		if !known[path] {
			return damage(path + " is not in its manifest")
		}
		delete(known, path)
	}
	for _, f := range files {
		if known[f.Path] {
			return damage(f.Path + " is missing")
		}
	}
	return nil
}

// listFiles returns the sorted relative paths of everything in dir except directories.
func listFiles(dir string) ([]string, error) {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		paths = append(paths, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list image files: %w", err)
	}
	slices.Sort(paths)
	return paths, nil
}
