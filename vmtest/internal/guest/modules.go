package guest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/kmod"
)

// loadModules loads kernel modules, and those that they depend on, from the modules
// of the running kernel below dir.
func (i initrd) loadModules(dir string, names ...string) error {
	modules, err := i.openModules(dir)
	if err != nil {
		return err
	}
	defer modules.Close()
	return i.loadFrom(modules, names...)
}

func (i initrd) loadFrom(modules *moduleDir, names ...string) error {
	files, err := modules.index.Files(names...)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := i.loadModule(modules, file); err != nil {
			return fmt.Errorf("load module %s: %w", file, err)
		}
	}
	return nil
}

// loadModule loads the module in a file, unless the kernel has it. A module of an imported
// image can be compressed in a way that this program does not know; the initrd then has
// it uncompressed.
func (i initrd) loadModule(modules *moduleDir, file string) error {
	if _, err := os.Stat(i.path("/sys/module/" + kmod.Name(file))); err == nil {
		return nil
	}
	content, err := modules.read(file)
	if err != nil {
		return err
	}
	if content, err = kmod.Decompress(file, content); err != nil {
		return err
	}
	if err := i.initModule(content, ""); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// moduleDir is the lib/modules/VERSION of the running kernel in a file tree.
type moduleDir struct {
	tree  int // file descriptor of the tree's root
	path  string
	index kmod.Index
}

func (i initrd) openModules(dir string) (*moduleDir, error) {
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return nil, fmt.Errorf("read kernel version: %w", err)
	}
	version := unix.ByteSliceToString(uname.Release[:])
	tree, err := unix.Open(i.path(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	m := &moduleDir{tree: tree}
	var dep []byte
	for _, lib := range []string{"lib/modules", "usr/lib/modules"} {
		m.path = path.Join(lib, version)
		if dep, err = m.read("modules.dep"); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	var builtin []byte
	if err == nil {
		builtin, err = m.read("modules.builtin")
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("read module dependencies below %s: %w", dir, err)
	}
	m.index = kmod.ParseIndex(string(dep), string(builtin))
	return m, nil
}

func (m *moduleDir) Close() error { return unix.Close(m.tree) }

// read returns the content of a file. Absolute links in the tree lead to places in
// the tree, as they do once it is the root directory.
func (m *moduleDir) read(file string) ([]byte, error) {
	name := path.Join(m.path, file)
	fd, err := unix.Openat2(m.tree, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return io.ReadAll(f)
}
