package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"example.org/systemd-vmtest/internal/host"
)

// cache is the directory of all images. Of an image NAME it holds the directory NAME,
// NAME.lock, NAME.stamp, and while a build runs .build-NAME-*.
type cache struct {
	dir string
}

// openCache returns the cache at root, or the user's if root is empty.
func openCache(root string) (cache, error) {
	if root == "" {
		dir, err := host.Cache("images")
		return cache{dir}, err
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return cache{}, fmt.Errorf("find image cache: %w", err)
	}
	dir, err := host.CacheIn(root, "images")
	return cache{dir}, err
}

func (c cache) image(name string) string { return filepath.Join(c.dir, name) }
func (c cache) stamp(name string) string { return filepath.Join(c.dir, name+".stamp") }

// lock waits for the right to read or change an image, across processes. The
// caller closes what it gets. The lock file stays: removing it would let two
// processes hold locks on different files of the same name.
func (c cache) lock(ctx context.Context, name string, r *reporter) (*flock.Flock, error) {
	l := flock.New(filepath.Join(c.dir, name+".lock"), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock image %s: %w", name, err)
	}
	if ok {
		return l, nil
	}
	r.notice(Waiting, "another process works on this image; waiting for it")
	// flock(2) cannot be interrupted by a context, hence the library's polling.
	if _, err := l.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return nil, fmt.Errorf("wait for image %s: %w", name, err)
	}
	return l, nil
}

// buildFunc fills an empty folder with an image.
type buildFunc func(ctx context.Context, dir string, r *reporter) error

// open gives the image from the cache, building it if it is absent or damaged.
func (c cache) open(ctx context.Context, name string, r *reporter, build buildFunc) (*Image, error) {
	l, err := c.lock(ctx, name, r)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	r.report(Progress{Stage: Checking})
	m, err := verify(c.image(name), c.stamp(name), name)
	var broken damage
	switch {
	case err == nil:
		noticeLeft(r, c.sweepKilled(name))
		return &Image{Manifest: m, dir: c.image(name)}, nil
	case errors.Is(err, fs.ErrNotExist):
		r.notice(Checking, "not in the cache; building it")
	case errors.As(err, &broken):
		r.notice(Checking, broken.Error()+"; rebuilding")
	default:
		return nil, fmt.Errorf("open image %s: %w", name, err)
	}
	return c.replaceLocked(ctx, name, r, build)
}

// replace builds the image whether or not the cache has it.
func (c cache) replace(ctx context.Context, name string, r *reporter, build buildFunc) (*Image, error) {
	l, err := c.lock(ctx, name, r)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return c.replaceLocked(ctx, name, r, build)
}

func (c cache) replaceLocked(ctx context.Context, name string, r *reporter, build buildFunc) (*Image, error) {
	noticeLeft(r, c.sweep(name))
	tmp, err := os.MkdirTemp(c.dir, ".build-"+name+"-")
	if err != nil {
		return nil, fmt.Errorf("build image %s: %w", name, err)
	}
	defer func() { noticeLeft(r, removeWork(tmp)) }()
	dir := filepath.Join(tmp, "image")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("build image %s: %w", name, err)
	}
	if err := build(ctx, dir, r); err != nil {
		return nil, fmt.Errorf("build image %s: %w", name, err)
	}
	if err := c.drop(name, tmp); err != nil {
		return nil, err
	}
	if err := os.Rename(dir, c.image(name)); err != nil {
		return nil, fmt.Errorf("store image %s: %w", name, err)
	}
	m, err := verify(c.image(name), c.stamp(name), name)
	if err != nil {
		return nil, fmt.Errorf("store image %s: %w", name, err)
	}
	r.report(Progress{Stage: Finished})
	return &Image{Manifest: m, dir: c.image(name)}, nil
}

// drop takes an image out of the cache and into the folder holding. It is a
// rename, so that a process which dies here leaves no image that lacks half its
// files.
func (c cache) drop(name, holding string) error {
	err := os.Rename(c.image(name), filepath.Join(holding, "old"))
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove image %s: %w", name, err)
	}
	if err := os.Remove(c.stamp(name)); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove image %s: %w", name, err)
	}
	return nil
}

// remove takes an image out of the cache for good.
func (c cache) remove(ctx context.Context, name string, r *reporter) error {
	l, err := c.lock(ctx, name, r)
	if err != nil {
		return err
	}
	defer l.Close()
	holding, err := os.MkdirTemp(c.dir, ".build-"+name+"-")
	if err != nil {
		return fmt.Errorf("remove image %s: %w", name, err)
	}
	return errors.Join(c.drop(name, holding), c.sweep(name))
}
