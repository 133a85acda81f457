package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.org/systemd-vmtest/internal/host"
)

// release ends the work on an image: it removes what this build, and killed ones,
// left behind, and at last the lock. What cannot be removed is a notice. It does not
// disturb a later build, as each has directories of its own.
func (c cache) release(name string, l *host.Lock, r *reporter) {
	err := errors.Join(c.sweep(name), l.Remove(), c.sweepOthers(name))
	if err != nil {
		r.notice(Checking, "cannot clean up after a build: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// sweep removes what the work on an image left: the directories of its builds, a
// stamp that was not finished, and the stamp of an image that is gone. An error does
// not keep it from the rest. The caller holds the lock.
func (c cache) sweep(name string) error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("remove left-over build: %w", err)
	}
	for _, e := range entries {
		if of, isWork := workOf(e.Name()); isWork && of == name {
			err = errors.Join(err, removeWork(filepath.Join(c.dir, e.Name())))
		}
	}
	stale := []string{c.stamp(name) + newSuffix}
	if c.isOrphan(name) {
		stale = append(stale, c.stamp(name))
	}
	for _, path := range stale {
		if errRemove := os.Remove(path); !errors.Is(errRemove, fs.ErrNotExist) {
			err = errors.Join(err, errRemove)
		}
	}
	return err
}

// isOrphan reports whether the image of a stamp is gone.
func (c cache) isOrphan(name string) bool {
	dir := c.image(name)
	if isExternal(name) {
		if dir = readStamp(c.stamp(name)).Dir; dir == "" {
			return true // torn, or of an older program
		}
	}
	_, err := os.Lstat(dir)
	return errors.Is(err, fs.ErrNotExist)
}

// removeWork removes a build's directory, after the scratch directory that it names.
func removeWork(dir string) error {
	if err := removeScratch(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove left-over build: %w", err)
	}
	return nil
}

// sweepOthers sweeps after all other images, unless a process works on them.
func (c cache) sweepOthers(name string) error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("remove left-over builds: %w", err)
	}
	done := map[string]bool{name: true}
	for _, e := range entries {
		other, found := c.leftBy(e.Name())
		if !found || done[other] {
			continue
		}
		done[other] = true
		l, errLock := host.TryLockFile(filepath.Join(c.dir, other+lockSuffix))
		if errors.Is(errLock, host.ErrLocked) {
			continue
		}
		if errLock != nil {
			err = errors.Join(err, errLock)
			continue
		}
		err = errors.Join(err, c.sweep(other), l.Remove())
	}
	return err
}

// leftBy returns the name of the image that a file is left of. found is false if the
// file is in use as long as its image exists.
func (c cache) leftBy(file string) (name string, found bool) {
	if name, isWork := workOf(file); isWork {
		return name, true
	}
	if name, isLock := strings.CutSuffix(file, lockSuffix); isLock {
		return name, true
	}
	if name, isNew := strings.CutSuffix(file, stampSuffix+newSuffix); isNew {
		return name, true
	}
	name, isStamp := strings.CutSuffix(file, stampSuffix)
	return name, isStamp && c.isOrphan(name)
}
