package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// What CopyOut copies of a directory at most. Tests change the size.
var (
	maxTreeFiles       = 100_000
	maxTreeBytes int64 = 1 << 30
)

// errTreeTooLarge is wrapped by CopyOut's error for a directory that was copied in part.
var errTreeTooLarge = fmt.Errorf("directory has more than %d files or %d MiB", maxTreeFiles, maxTreeBytes>>20)

// treeOut is a directory of the guest to be copied to the host. The guest chooses the names
// in it, so the copy is made through an os.Root.
type treeOut struct {
	session *session
	from    string
	root    *os.Root
	files   int
	bytes   int64
	skipped []error // the first of what is neither file nor directory
	more    int     // how many were skipped besides those
}

// copyOutTree copies a directory of the guest into hostPath, and makes that if it does not
// exist.
func copyOutTree(ctx context.Context, s *session, from, hostPath string) (err error) {
	err = s.step(func() error { return os.Mkdir(hostPath, 0o755) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	root, err := os.OpenRoot(hostPath)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	t := &treeOut{session: s, from: from, root: root}
	if err := t.directory(ctx, "."); err != nil {
		return err
	}
	if t.more > 0 {
		t.skipped = append(t.skipped, fmt.Errorf("%d more: %w", t.more, errors.ErrUnsupported))
	}
	return errors.Join(t.skipped...)
}

// maxSkipped is how many files an error names that were not copied.
const maxSkipped = 10

// skip notes a file that is not copied.
func (t *treeOut) skip(name string, err error) {
	if len(t.skipped) == maxSkipped {
		t.more++
		return
	}
	t.skipped = append(t.skipped, named(name, err))
}

// directory copies what is in the directory with that path below the tree's own.
func (t *treeOut) directory(ctx context.Context, dir string) error {
	entries, err := t.session.ReadDirContext(ctx, path.Join(t.from, dir))
	if dir != "." && errors.Is(err, fs.ErrNotExist) {
		return nil // it was removed meanwhile
	}
	if err != nil {
		return named(dir, err)
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		if t.files++; t.files > maxTreeFiles {
			return errTreeTooLarge
		}
		if name := e.Name(); !fs.ValidPath(name) || strings.Contains(name, "/") || name == "." {
			return fmt.Errorf("the guest has a file named %q", name)
		}
		name := path.Join(dir, e.Name())
		switch {
		case e.IsDir():
			err := t.session.step(func() error { return t.root.Mkdir(name, 0o755) })
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			if err := t.directory(ctx, name); err != nil {
				return err
			}
		case e.Mode().IsRegular():
			if err := t.file(ctx, name); err != nil {
				return named(name, err)
			}
		default:
			t.skip(name, unsupported(e.Mode()))
		}
	}
	return nil
}

// file copies a file under a hidden name and renames it. One that was removed meanwhile is
// left out.
func (t *treeOut) file(ctx context.Context, name string) error {
	temp := tempName(name)
	var file *os.File
	found := false
	mode, err := download(ctx, t.session.Client, path.Join(t.from, name), func(fs.FileInfo) (_ io.Writer, err error) {
		found = true
		file, err = t.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return &counted{file, &t.bytes}, err
	})
	if !found && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if file == nil {
		return err
	}
	if err == nil {
		err = file.Chmod(mode.Perm())
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = t.session.step(func() error { return t.root.Rename(temp, name) })
	}
	if err != nil {
		return errors.Join(err, t.root.Remove(temp))
	}
	return nil
}

// counted is a writer that fails when a tree has become too large.
type counted struct {
	io.Writer
	bytes *int64
}

func (c *counted) Write(p []byte) (int, error) {
	if *c.bytes += int64(len(p)); *c.bytes > maxTreeBytes {
		return 0, errTreeTooLarge
	}
	return c.Writer.Write(p)
}

// isDirectory reports whether guestPath is a directory of the guest.
func isDirectory(s *session, guestPath string) bool {
	info, err := s.Stat(guestPath)
	return err == nil && info.IsDir() && checkPath(guestPath) == nil
}
