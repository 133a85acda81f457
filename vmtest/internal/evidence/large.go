package evidence

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// keptLarge is in how many directories of a place DropLarge leaves something large.
const keptLarge = 10

// DropLarge removes the subdirectory name from the oldest directories beside d until keptLarge
// have it. Each gets the file note with the reason instead. Another process may do the same.
func (d *Directory) DropLarge(name, note string) error {
	place := filepath.Dir(d.path)
	entries, err := os.ReadDir(place) // sorted by name
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		if !e.IsDir() || !made.MatchString(e.Name()) {
			return true
		}
		_, err := os.Lstat(filepath.Join(place, e.Name(), name))
		return err != nil
	})
	var errs []error
	for _, e := range entries[:max(0, len(entries)-keptLarge)] {
		if err := dropLarge(filepath.Join(place, e.Name()), name, note); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func dropLarge(dir, name, note string) error {
	root, err := os.OpenRoot(dir) // of a link no target is touched
	if err != nil {
		return err
	}
	defer root.Close()
	// Under another name first, so that nobody takes what is left for a whole one.
	old := "." + name + "-old"
	if err := root.Rename(name, old); err != nil {
		return err
	}
	why := fmt.Sprintf("it was removed, because the last %d are kept\n", keptLarge)
	return errors.Join(writeNew(root, note, why), root.RemoveAll(old))
}

// writeNew writes a file in place of what has its name.
func writeNew(root *os.Root, name, text string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
