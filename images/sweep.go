package images

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// sweep removes the work folders of this image's builds: this one's own, and
// those of processes that were killed. The caller holds the lock.
func (c cache) sweep(name string) error {
	left, err := filepath.Glob(filepath.Join(c.dir, ".build-"+name+"-*"))
	if err != nil {
		return fmt.Errorf("remove left-over build: %w", err)
	}
	for _, dir := range left {
		if err := removeScratch(dir); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove left-over build: %w", err)
		}
	}
	return nil
}

// sweepKilled removes the work folders of killed builds of all images, whose lock
// nobody holds. The caller holds the lock of one.
func (c cache) sweepKilled(locked string) error {
	left, err := filepath.Glob(filepath.Join(c.dir, ".build-*"))
	if err != nil || len(left) == 0 {
		return err
	}
	locks, err := filepath.Glob(filepath.Join(c.dir, "*.lock"))
	if err != nil {
		return err
	}
	for _, path := range locks {
		name := strings.TrimSuffix(filepath.Base(path), ".lock")
		if name == locked {
			err = errors.Join(err, c.sweep(name))
			continue
		}
		l := flock.New(path)
		ok, lockErr := l.TryLock()
		if !ok {
			err = errors.Join(err, lockErr) // none where it is being built
			continue
		}
		err = errors.Join(err, c.sweep(name), l.Close())
	}
	return err
}
