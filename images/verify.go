package images

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// verify compares an image's directory with its manifest and returns the manifest.
// The error is a damage if they differ, and fs.ErrNotExist if there is no directory.
// It hashes the files whose identities the stamp does not have, and writes the stamp.
func verify(dir, stampPath, name string) (Manifest, error) {
	if info, err := os.Stat(dir); err != nil {
		return Manifest{}, err
	} else if !info.IsDir() {
		return Manifest{}, damage("it is not a directory")
	}
	m, err := readManifest(dir)
	if err != nil {
		return Manifest{}, err
	}
	if m.Name != name {
		return Manifest{}, damage(fmt.Sprintf("the directory holds %q", m.Name))
	}
	if m.Arch != runtime.GOARCH {
		return Manifest{}, damage(fmt.Sprintf("it was built for %s", m.Arch))
	}
	if err := verifyNames(dir, m.Files); err != nil {
		return Manifest{}, err
	}
	old, fresh := readStamp(stampPath), newStamp(dir, m)
	for _, want := range m.Files {
		now, err := identifyPath(filepath.Join(dir, filepath.FromSlash(want.Path)))
		if err != nil {
			return Manifest{}, damage(want.Path + " cannot be read")
		}
		if now.Size != want.Size {
			return Manifest{}, damage(fmt.Sprintf("%s has %d bytes instead of %d", want.Path, now.Size, want.Size))
		}
		fresh.Files[want.Path] = now
		if old.Seal == m.Seal && old.Files[want.Path] == now {
			continue
		}
		got, err := hashFile(dir, want.Path)
		if err != nil {
			return Manifest{}, damage(want.Path + " cannot be read")
		}
		if got != want {
			return Manifest{}, damage(want.Path + " does not match its manifest")
		}
	}
	if old.equal(fresh) {
		return m, nil
	}
	return m, fresh.write(stampPath)
}

// verifyNames looks for files that are missing, and for files that are not in the
// manifest: the initrd takes the modules directory whole.
func verifyNames(dir string, files []File) error {
	known := map[string]bool{manifestFile: true}
	for _, f := range files {
		known[f.Path] = true
	}
	found, err := listFiles(dir)
	if err != nil {
		return err
	}
	for _, path := range found {
		if !known[path] {
			return damage(path + " is not in its manifest")
		}
		delete(known, path)
	}
	for _, f := range files {
		if known[f.Path] {
			return damage(f.Path + " is missing")
		}
	}
	return nil
}

// listFiles returns the sorted relative paths of everything in dir except directories.
func listFiles(dir string) ([]string, error) {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		paths = append(paths, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list image files: %w", err)
	}
	slices.Sort(paths)
	return paths, nil
}
