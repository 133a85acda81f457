package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"example.org/systemd-vmtest/internal/host"
)

// moduleRoot returns the directory of the module that dir is in.
func moduleRoot(ctx context.Context, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOMOD")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if file == "" || file == os.DevNull {
		return "", errors.New("find the module: the working directory is not in one")
	}
	return filepath.Dir(file), nil
}

// filesOf returns the files of a work tree that git has or would add, relative to root.
func filesOf(ctx context.Context, root string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list files of %s: %w: %s", root, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 }), nil
}

// place is a directory with a copy of the module. The cache keeps a prepared machine for each
// directory that a test runs in, so there are few places, and they have the same names in
// each run.
type place struct {
	dir  string
	lock *host.Lock
}

// newPlace returns a place with a copy of the files of root. The caller closes it.
func newPlace(root string, files []string) (*place, error) {
	p, err := claimPlace()
	if err != nil {
		return nil, err
	}
	if err = os.RemoveAll(p.tree()); err == nil { // of a killed process
		err = copyTree(root, p.tree(), files)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// tree returns the directory of the copy.
func (p *place) tree() string { return filepath.Join(p.dir, "m") }

// with puts a fault into the copy, calls do, and takes it out again.
func (p *place) with(f fault, do func() error) (err error) {
	changed, err := f.apply(os.DirFS(p.tree()))
	if err != nil {
		return err
	}
	before := map[string]string{}
	for name := range changed {
		text, err := os.ReadFile(filepath.Join(p.tree(), name))
		if err != nil {
			return err
		}
		before[name] = string(text)
	}
	defer func() { err = errors.Join(err, p.write(before)) }()
	if err := p.write(changed); err != nil {
		return err
	}
	return do()
}

// write replaces the text of files.
func (p *place) write(files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(p.tree(), name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// claimPlace returns a place that no other worker has, of this process or another.
func claimPlace() (*place, error) {
	all, err := host.Cache("faults")
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		dir := filepath.Join(all, fmt.Sprint(n))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		lock, err := host.TryLockDir(dir)
		switch {
		case err == nil:
			return &place{dir, lock}, nil
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
			n--
		case !errors.Is(err, host.ErrLocked):
			return nil, err
		}
	}
}

func (p *place) close() error { return errors.Join(os.RemoveAll(p.dir), p.lock.Close()) }

// copyTree copies files from the directory root to the directory to, except those that
// have been removed.
func copyTree(root, to string, files []string) error {
	for _, name := range files {
		if err := copyFile(filepath.Join(root, name), filepath.Join(to, name)); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if info.Mode().Type() == fs.ModeSymlink {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode().Perm())
}
