package gobuild

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/host"
)

// keepUnused is how long the cache keeps a program that no test uses.
const keepUnused = 30 * 24 * time.Hour

// Files beside a program in the cache. The work directory exists during a build, and
// after a build that was killed.
const (
	digestSuffix = ".sha256"
	lockSuffix   = ".lock"
	workSuffix   = ".work"
)

// dropPrograms removes the programs in dir that no test has used since the given time,
// with the files beside them.
func dropPrograms(dir string, since time.Time) error {
	locks, err := fs.Glob(os.DirFS(dir), "*"+lockSuffix)
	if err != nil {
		return err
	}
	for _, name := range locks {
		if err := dropProgram(filepath.Join(dir, strings.TrimSuffix(name, lockSuffix)), since); err != nil {
			return fmt.Errorf("clean %s: %w", dir, err)
		}
	}
	return nil
}

func dropProgram(path string, since time.Time) error {
	used, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) { // its first build failed, or still runs
		used, err = os.Stat(path + lockSuffix)
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && used.ModTime().After(since) {
		return nil
	} else if err != nil {
		return err
	}
	lock, err := host.TryLockFile(path + lockSuffix)
	if errors.Is(err, host.ErrLocked) {
		return nil
	} else if err != nil {
		return err
	}
	if err := removeProgram(path); err != nil {
		return errors.Join(err, lock.Close())
	}
	return lock.Remove()
}

// removeProgram removes a program and the files beside it, except for its lock.
func removeProgram(path string) error {
	if err := os.RemoveAll(path + workSuffix); err != nil {
		return err
	}
	for _, p := range []string{path, path + digestSuffix} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
