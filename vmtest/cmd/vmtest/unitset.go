package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.org/systemd-vmtest/vmtest"
	"example.org/systemd-vmtest/vmtest/internal/systemd"
)

// unitSet is unit files of one directory, which are verified together.
type unitSet struct {
	dir   string
	units []string // names in dir, sorted
	whole bool     // everything in dir belongs to it
}

// String returns the set as the user named it.
func (s unitSet) String() string {
	if s.whole {
		return s.dir
	}
	var paths []string
	for _, name := range s.units {
		paths = append(paths, s.hostPath(name))
	}
	return strings.Join(paths, " ")
}

func (s unitSet) hostPath(name string) string { return filepath.Join(s.dir, name) }

// guestPaths returns the paths of the units' files in the guest, in its directory dir.
func (s unitSet) guestPaths(dir string) []string {
	var paths []string
	for _, name := range s.units {
		paths = append(paths, dir+"/"+name)
	}
	return paths
}

// copyTo copies the set into a guest's directory of units. Of a whole directory that is
// everything, drop-ins too.
func (s unitSet) copyTo(ctx context.Context, m *vmtest.Machine) error {
	dir := m.Image().UnitDir()
	if s.whole {
		return m.Copy(ctx, s.dir, dir)
	}
	for _, name := range s.units {
		if err := m.Copy(ctx, s.hostPath(name), dir+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

// unitSets groups paths of unit files and of directories of them, in the order given.
func unitSets(paths []string) ([]unitSet, error) {
	var sets []unitSet
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("find units: %w", err)
		}
		path = filepath.Clean(path)
		if info.IsDir() {
			set, err := wholeDirectory(path)
			if err != nil {
				return nil, err
			}
			sets = append(sets, set)
			continue
		}
		dir, name := filepath.Dir(path), filepath.Base(path)
		if !isUnit(name) {
			return nil, fmt.Errorf("find units: %s has no unit suffix such as .service (systemd.unit(5))", path)
		}
		i := slices.IndexFunc(sets, func(s unitSet) bool { return s.dir == dir && !s.whole })
		if i < 0 {
			i = len(sets)
			sets = append(sets, unitSet{dir: dir})
		}
		sets[i].units = append(sets[i].units, name)
	}
	for i := range sets {
		slices.Sort(sets[i].units)
		sets[i].units = slices.Compact(sets[i].units)
	}
	if len(sets) == 0 {
		return nil, errors.New("find units: no paths")
	}
	return sets, nil
}

func wholeDirectory(dir string) (unitSet, error) {
	set := unitSet{dir: dir, whole: true}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return set, fmt.Errorf("find units: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() && isUnit(e.Name()) {
			set.units = append(set.units, e.Name())
		}
	}
	if len(set.units) == 0 {
		return set, fmt.Errorf("find units: %s has no unit files; name the directories that have some", dir)
	}
	return set, nil
}

// isUnit reports whether name is that of a unit file, by its suffix (systemd.unit(5)).
// Scopes have no files.
func isUnit(name string) bool {
	kind := filepath.Ext(name)
	return kind != ".scope" && slices.Contains(systemd.UnitTypes, kind)
}
