package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// treeJobs is the number of files that are copied at once. Even a small file takes
// five requests, one after the other.
const treeJobs = 8

// tree is a directory to be copied.
type tree struct {
	session *session
	fsys    fs.FS
	to      string
	made    []madeDir // parents before their children
}

// madeDir is a directory of the guest that is new, and the mode that it will have.
type madeDir struct {
	path string
	mode fs.FileMode
}

func (f Files) copyTree(ctx context.Context, fsys fs.FS, guestDir string) error {
	if err := checkPath(guestDir); err != nil {
		return err
	}
	return f.transfer(ctx, func(s *session) error {
		t := &tree{session: s, fsys: fsys, to: guestDir}
		return t.copy(ctx)
	})
}

func (t *tree) copy(ctx context.Context) error {
	jobs, ctx := errgroup.WithContext(ctx)
	jobs.SetLimit(treeJobs)
	walkErr := fs.WalkDir(t.fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ended(ctx)
		}
		to := path.Join(t.to, name)
		switch entry.Type() {
		case fs.ModeDir:
			return t.mkdir(entry, to)
		case fs.ModeSymlink:
			jobs.Go(func() error { return named(name, t.link(name, to)) })
		case 0:
			jobs.Go(func() error { return named(name, t.file(ctx, name, to)) })
		default:
			return named(name, unsupported(entry.Type()))
		}
		return nil
	})
	if err := jobs.Wait(); err != nil {
		return err // and the walk has ended because of it
	}
	if walkErr != nil {
		return walkErr
	}
	// Modes last and children first: an agent that is not root cannot write into a
	// read-only directory.
	for _, f := range slices.Backward(t.made) {
		if err := t.session.err(); err != nil {
			return err
		}
		mode := f.mode
		if t.session.owner != nil {
			mode |= 0o200 // an embed.FS reports 0555, and only root can write there
		}
		if err := t.session.Chmod(f.path, mode); err != nil {
			return named(f.path, err)
		}
	}
	return nil
}

func (t *tree) mkdir(entry fs.DirEntry, to string) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	err = t.session.mkdir(to)
	if errors.Is(err, fs.ErrNotExist) && to == t.to {
		if err := makeParent(t.session, to); err != nil {
			return err
		}
		err = t.session.mkdir(to)
	}
	if err == nil {
		t.made = append(t.made, madeDir{to, info.Mode()})
		return nil
	} else if there, statErr := t.session.Stat(to); statErr != nil {
		return explain(t.session.Client, to, err)
	} else if !there.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: to, Err: syscall.ENOTDIR}
	}
	return nil
}

func (t *tree) link(name, to string) error {
	target, err := fs.ReadLink(t.fsys, name)
	if err != nil {
		return err
	}
	temp := tempName(to)
	if err := t.session.Symlink(target, temp); err != nil {
		return explain(t.session.Client, to, err)
	}
	return install(t.session, temp, to, nil)
}

func (t *tree) file(ctx context.Context, name, to string) error {
	file, err := t.fsys.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return upload{file, info.Size(), info.Mode(), to}.put(ctx, t.session)
}

func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}
