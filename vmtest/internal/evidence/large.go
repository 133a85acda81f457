package evidence

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// KeptLarge is in how many directories of a place DropLarge leaves something large.
const KeptLarge = 10

// DropLarge removes the subdirectory name from the oldest directories beside d until KeptLarge
// have it. Each gets the file note with the reason instead. Another process may do the same.
func (d *Directory) DropLarge(name, note string) error {
	place := filepath.Dir(d.path)
	entries, err := os.ReadDir(place) // sorted by name
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		if !made.MatchString(e.Name()) {
			return true
		}
		_, err := os.Lstat(filepath.Join(place, e.Name(), name))
		return err != nil
	})
	var errs []error
	for _, e := range entries[:max(0, len(entries)-KeptLarge)] {
		if err := dropLarge(filepath.Join(place, e.Name()), name, note); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func dropLarge(dir, name, note string) error {
	// Under another name first, so that nobody takes what is left for a whole one.
	old := filepath.Join(dir, "."+name+"-old")
	if err := os.Rename(filepath.Join(dir, name), old); err != nil {
		return err
	}
	why := fmt.Sprintf("it was removed, because the last %d are kept\n", KeptLarge)
	return errors.Join(os.WriteFile(filepath.Join(dir, note), []byte(why), 0o600), os.RemoveAll(old))
}
