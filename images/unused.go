package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"example.org/systemd-vmtest/internal/host"
)

// What bounds the images with additions. A change of a list of packages or of a .deb
// makes a new one of some 250 MB.
const (
	keepUnused = 30 * 24 * time.Hour
	keepBytes  = 4 << 30
	// inUse is how long after its last use an image is not removed at all. A process
	// that has opened an image opens its files within that time, and keeps them open.
	inUse = time.Hour
)

// use records the use of an image with additions: as the time of its stamp. The caller
// holds the lock.
func (c cache) use(name string) error {
	if !isAdded(name) {
		return nil
	}
	now := time.Now()
	if err := os.Chtimes(c.stamp(name), now, now); err != nil {
		return fmt.Errorf("note use of image: %w", err)
	}
	return nil
}

// usedImage is an image with additions.
type usedImage struct {
	name  string
	used  time.Time
	bytes int64
}

// dropUnused removes images with additions that were not used for long, and, if the rest
// takes more than limit bytes, the longest unused of them.
func (c cache) dropUnused(now time.Time, limit int64) error {
	list, err := c.added()
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b usedImage) int { return b.used.Compare(a.used) })
	var total int64
	for _, i := range list {
		age := now.Sub(i.used)
		if total += i.bytes; age < inUse || age < keepUnused && total <= limit {
			continue
		}
		total -= i.bytes
		l, errLock := host.TryLockFile(filepath.Join(c.dir, i.name+lockSuffix))
		if errors.Is(errLock, host.ErrLocked) {
			continue
		}
		if errLock != nil {
			err = errors.Join(err, errLock)
			continue
		}
		err = errors.Join(err, c.removeLocked(i.name), l.Remove())
	}
	return err
}

// added returns the images with additions.
func (c cache) added() ([]usedImage, error) {
	names, err := c.names()
	if err != nil {
		return nil, err
	}
	var list []usedImage
	for _, name := range names {
		if !isAdded(name) {
			continue
		}
		i := usedImage{name: name}
		info, err := os.Stat(c.stamp(name))
		if errors.Is(err, fs.ErrNotExist) { // copied here
			info, err = os.Stat(c.image(name))
		}
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for unused images: %w", err)
		}
		i.used = info.ModTime()
		if m, err := readManifest(c.image(name)); err == nil {
			i.bytes = m.bytes()
		}
		list = append(list, i)
	}
	return list, nil
}
