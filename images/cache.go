package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/host"
)

// cache is the directory of all images. For an image NAME it holds the directory
// NAME and NAME.stamp, and during work on the image NAME.lock, NAME.stamp.new and
// .build-NAME-*. What killed processes leave of these goes at the next use of any
// image.
type cache struct {
	dir string
}

// openCache returns the cache at root, or the user's if root is empty, and makes its
// directory.
func openCache(root string) (cache, error) {
	root, err := cacheRoot(root)
	if err != nil {
		return cache{}, err
	}
	dir, err := host.CacheIn(root, imagesDir)
	return cache{dir}, err
}

// imagesDir is the subdirectory of images in the root of the cache.
var imagesDir = dirOf(formatVersion)

// dirOf returns the subdirectory for a version of the format. Two versions of this program
// that share a cache would otherwise replace each other's images in turn.
func dirOf(format int) string {
	if format <= 2 {
		return "images"
	}
	return fmt.Sprintf("images.%d", format)
}

func cacheRoot(root string) (string, error) {
	if root == "" {
		return host.CacheDir()
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("find image cache: %w", err)
	}
	return root, nil
}

func (c cache) image(name string) string { return filepath.Join(c.dir, name) }
func (c cache) stamp(name string) string { return filepath.Join(c.dir, name+stampSuffix) }

const (
	lockSuffix  = ".lock"
	stampSuffix = ".stamp"
	newSuffix   = ".new" // of a stamp that is being written
	workPrefix  = ".build-"
)

// makeWork makes a directory for work on an image. Its name ends in digits.
func (c cache) makeWork(name string) (string, error) {
	return os.MkdirTemp(c.dir, workPrefix+name+"-")
}

// workOf returns the name of the image that a work directory belongs to.
func workOf(file string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(file, workPrefix)
	if i := strings.LastIndexByte(rest, '-'); ok && i >= 0 {
		return rest[:i], true
	}
	return "", false
}

// lock waits for the right to read or change an image, across processes. The caller
// removes the lock.
func (c cache) lock(ctx context.Context, name string, r *reporter) (*host.Lock, error) {
	return host.LockFile(ctx, filepath.Join(c.dir, name+lockSuffix), func() {
		r.notice(Waiting, "another process works on this image; waiting for it")
	})
}

// buildFunc fills an empty directory with an image.
type buildFunc func(ctx context.Context, dir string, r *reporter) error

// open returns the image from the cache, and builds it if it is absent or damaged.
// An image that was built from other inputs counts as damaged, unless inputs is empty.
func (c cache) open(ctx context.Context, name, inputs string, r *reporter, build buildFunc) (*Image, error) {
	l, err := c.lock(ctx, name, r)
	if err != nil {
		return nil, fmt.Errorf("open image %s: %w", r.name(name), err)
	}
	defer c.release(name, l, r)
	r.report(Progress{Stage: Checking})
	image, err := verify(ctx, c.image(name), c.stamp(name), name)
	if err == nil && inputs != "" && image.Inputs != inputs {
		err = damage("it was built from other packages or options than this program's")
	}
	var broken damage
	switch {
	case err == nil:
		return image, c.use(name)
	case errors.Is(err, fs.ErrNotExist):
		r.notice(Checking, "not in the cache; building it")
	case errors.As(err, &broken):
		r.notice(Checking, broken.Error()+"; rebuilding")
	default:
		return nil, fmt.Errorf("open image %s: %w", r.name(name), err)
	}
	return c.replaceLocked(ctx, "build", name, r, build)
}

// replace makes the image whether or not the cache has it. verb is what errors call that.
func (c cache) replace(ctx context.Context, verb, name string, r *reporter, build buildFunc) (*Image, error) {
	l, err := c.lock(ctx, name, r)
	if err != nil {
		return nil, fmt.Errorf("%s image %s: %w", verb, r.name(name), err)
	}
	defer c.release(name, l, r)
	return c.replaceLocked(ctx, verb, name, r, build)
}

func (c cache) replaceLocked(ctx context.Context, verb, name string, r *reporter, build buildFunc) (*Image, error) {
	_ = c.sweep(name) // for its space; release sweeps again and reports errors
	tmp, err := c.makeWork(name)
	if err != nil {
		return nil, fmt.Errorf("%s image %s: %w", verb, r.name(name), err)
	}
	dir := filepath.Join(tmp, "image")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%s image %s: %w", verb, r.name(name), err)
	}
	if err := build(ctx, dir, r); err != nil {
		return nil, fmt.Errorf("%s image %s: %w", verb, r.name(name), err)
	}
	if err := c.drop(name, tmp); err != nil {
		return nil, err
	}
	if err := os.Rename(dir, c.image(name)); err != nil {
		return nil, fmt.Errorf("store image %s: %w", r.name(name), err)
	}
	// The former image is gone, so the end of ctx comes too late.
	image, err := verify(context.WithoutCancel(ctx), c.image(name), c.stamp(name), name)
	if err != nil {
		return nil, fmt.Errorf("store image %s: %w", r.name(name), err)
	}
	r.report(Progress{Stage: Finished})
	if isAdded(name) {
		if err := c.dropUnused(time.Now(), keepBytes); err != nil {
			r.notice(Checking, "cannot remove unused images: "+strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	return image, nil
}

// drop moves an image out of the cache into the directory holding. It is a rename:
// a process that dies here leaves no image without half of its files.
func (c cache) drop(name, holding string) error {
	err := os.Rename(c.image(name), filepath.Join(holding, "old"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove image %s: %w", name, err)
	}
	if err := os.Remove(c.stamp(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove image %s: %w", name, err)
	}
	return nil
}

// remove removes an image from the cache, and its stamp and lock.
func (c cache) remove(ctx context.Context, name string, r *reporter) error {
	l, err := c.lock(ctx, name, r)
	if err != nil {
		return fmt.Errorf("remove image %s: %w", name, err)
	}
	return errors.Join(c.removeLocked(name), l.Remove(), c.sweepOthers(name))
}

// removeLocked removes an image and its stamp. The caller holds the lock.
func (c cache) removeLocked(name string) error {
	holding, err := c.makeWork(name)
	if err == nil {
		err = c.drop(name, holding)
	} else {
		err = fmt.Errorf("remove image %s: %w", name, err)
	}
	return errors.Join(err, c.sweep(name))
}
