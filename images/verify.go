package images

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"example.org/systemd-vmtest/internal/host"
)

// stamp remembers the identities of a verified image's files. While they stand, the
// files need no hashing at each start.
type stamp struct {
	Seal  string                   `json:"seal"` // of the manifest verified against
	Files map[string]host.Identity `json:"files"`
}

func identifyPath(path string) (host.Identity, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return host.Identity{}, err
	}
	return host.Identify(info)
}

// readStamp gives an empty stamp where there is none or it cannot be read:
// then every file is hashed, which is always right.
func readStamp(path string) stamp {
	var s stamp
	b, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(b, &s) != nil {
		return stamp{}
	}
	return s
}

func (s stamp) write(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode stamp: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".stamp-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(b); err != nil {
		tmp.Close()
		return fmt.Errorf("write stamp: %w", err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	return os.Rename(tmp.Name(), path)
}

// verify compares an image folder with its manifest and gives the manifest. It
// returns a damage if they differ, and fs.ErrNotExist if there is no folder.
func verify(dir, stampPath, name string) (Manifest, error) {
	if info, err := os.Stat(dir); err != nil {
		return Manifest{}, err
	} else if !info.IsDir() {
		return Manifest{}, damage("it is not a folder")
	}
	m, err := readManifest(dir)
	if err != nil {
		return Manifest{}, err
	}
	if m.Name != name {
		return Manifest{}, damage(fmt.Sprintf("the folder holds %q", m.Name))
	}
	if m.Arch != runtime.GOARCH {
		return Manifest{}, damage(fmt.Sprintf("it was built for %s", m.Arch))
	}
	if err := verifyNames(dir, m.Files); err != nil {
		return Manifest{}, err
	}
	old := readStamp(stampPath)
	fresh := stamp{Seal: m.Seal, Files: map[string]host.Identity{}}
	same := old.Seal == m.Seal
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
		same = false
		got, err := hashFile(dir, want.Path)
		if err != nil {
			return Manifest{}, damage(want.Path + " cannot be read")
		}
		if got != want {
			return Manifest{}, damage(want.Path + " does not match its manifest")
		}
	}
	if same {
		return m, nil
	}
	return m, fresh.write(stampPath)
}

// verifyNames finds files that are missing or that the manifest does not know:
// the initrd takes the modules folder whole.
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

// listFiles gives the relative paths of everything in dir that is no folder,
// sorted.
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
