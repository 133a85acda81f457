package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// sweep removes all work folders of this image, those of killed builds. One that
// cannot be removed does not keep it from the others. The caller holds the lock.
func (c cache) sweep(name string) error {
	left, err := fs.Glob(os.DirFS(c.dir), ".build-"+name+"-*")
	if err != nil {
		return fmt.Errorf("remove left-over build: %w", err)
	}
	for _, work := range left {
		err = errors.Join(err, removeWork(filepath.Join(c.dir, work)))
	}
	return err
}

// removeWork removes a work folder, after the scratch folder that it names.
func removeWork(dir string) error {
	if err := removeScratch(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove left-over build: %w", err)
	}
	return nil
}

// noticeLeft tells of a build's files that could not be removed. They are in no
// later build's way, as each has folders of its own.
func noticeLeft(r *reporter, err error) {
	if err != nil {
		r.notice(Checking, "cannot clean up after a build: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// sweepKilled removes the work folders of killed builds of all images, whose lock
// nobody holds. The caller holds the lock of one.
func (c cache) sweepKilled(locked string) error {
	dir := os.DirFS(c.dir)
	left, err := fs.Glob(dir, ".build-*")
	if err != nil || len(left) == 0 {
		return err
	}
	locks, err := fs.Glob(dir, "*.lock")
	if err != nil {
		return err
	}
	for _, lock := range locks {
		name := strings.TrimSuffix(lock, ".lock")
		if name == locked {
			err = errors.Join(err, c.sweep(name))
			continue
		}
		l := flock.New(filepath.Join(c.dir, lock))
		ok, lockErr := l.TryLock()
		if !ok {
			err = errors.Join(err, lockErr) // none where it is being built
			continue
		}
		err = errors.Join(err, c.sweep(name), l.Close())
	}
	return err
}
