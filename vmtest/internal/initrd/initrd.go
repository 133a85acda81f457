// Package initrd builds the initial RAM file system that mounts an image and puts the
// guest agent into it.
package initrd

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/guest"
)

// Archive is the content of an initrd.
type Archive struct {
	Agent      []byte            // the agent's executable, which is also the init
	ModulesDir string            // directory of the host with lib/modules/VERSION
	Modules    []string          // names of the modules to load, in order
	Run        map[string]string // files in the guest's /run: path below /run to content; a script is executable
	RunLinks   map[string]string // symbolic links in it: path below /run to target
}

// Build writes the archive to an anonymous file in memory, which the caller closes.
// The same input gives the same bytes.
func Build(a Archive) (*os.File, error) {
	fd, err := unix.MemfdCreate("initrd", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("build initrd: %w", os.NewSyscallError("memfd_create", err))
	}
	f := os.NewFile(uintptr(fd), "initrd")
	if err := a.write(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("build initrd: %w", err)
	}
	return f, nil
}

func (a Archive) write(to io.Writer) error {
	config, err := json.Marshal(guest.InitConfig{Modules: a.Modules})
	if err != nil {
		return err
	}
	w := &writer{cpio: cpio.NewWriter(to), dirs: map[string]bool{}}
	w.file("init", a.Agent, 0o755)
	w.file(guest.ConfigPath, config, 0o644)
	if err := w.modules(a.ModulesDir); err != nil {
		return fmt.Errorf("read kernel modules: %w", err)
	}
	w.dir(guest.RunTree)
	for _, name := range slices.Sorted(maps.Keys(a.Run)) {
		perm := cpio.FileMode(0o644)
		if strings.HasPrefix(a.Run[name], "#!") {
			perm = 0o755
		}
		w.file(path.Join(guest.RunTree, name), []byte(a.Run[name]), perm)
	}
	for _, name := range slices.Sorted(maps.Keys(a.RunLinks)) {
		w.link(path.Join(guest.RunTree, name), a.RunLinks[name])
	}
	if err := w.close(); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// writer writes an archive in the format "newc". It keeps its first error. All times
// and owners are 0.
type writer struct {
	cpio *cpio.Writer
	dirs map[string]bool // those written
	err  error
}

func (w *writer) close() error {
	if w.err == nil {
		w.err = w.cpio.Close()
	}
	return w.err
}

// add writes an entry and the directories above it.
func (w *writer) add(name string, mode cpio.FileMode, content []byte) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if parent := path.Dir(name); parent != "." {
		w.dir(parent)
	}
	if w.err != nil {
		return
	}
	w.err = w.cpio.WriteHeader(&cpio.Header{Name: name, Mode: mode, Size: int64(len(content))})
	if w.err == nil {
		_, w.err = w.cpio.Write(content)
	}
}

func (w *writer) file(name string, content []byte, perm cpio.FileMode) {
	w.add(name, cpio.TypeReg|perm, content)
}

func (w *writer) link(name, target string) { w.add(name, cpio.TypeSymlink|0o777, []byte(target)) }

func (w *writer) dir(name string) {
	name = path.Clean("/" + name)
	if !w.dirs[name] {
		w.dirs[name] = true
		w.add(name, cpio.TypeDir|0o755, nil)
	}
}

// modules writes the files below a directory of the host.
func (w *writer) modules(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		w.file(filepath.ToSlash(rel), data, 0o644)
		return nil
	})
}
