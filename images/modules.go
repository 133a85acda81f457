package images

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"
)

// neededModules returns the modules that an initrd needs for its root and the agent.
// Some kernels have some of them built in.
func neededModules() []string {
	return []string{"virtio_pci", "virtio_blk", "virtio_console", "virtio_rng", "squashfs", "overlay"}
}

// moduleFiles are a kernel's modules as in the guest's tree, by their path below
// lib/modules.
type moduleFiles struct {
	files map[string][]byte
}

// needs reports whether a file is to be added.
func (m *moduleFiles) needs(name string) bool {
	switch path.Base(name) {
	case "modules.dep", "modules.builtin":
		return true
	}
	return strings.Contains(path.Base(name), ".ko")
}

func (m *moduleFiles) add(name string, content []byte) {
	if m.files == nil {
		m.files = map[string][]byte{}
	}
	m.files[name] = content
}

// moduleName returns the name of the module in a file. Names of files have dashes and
// underscores, the kernel's names have underscores only.
func moduleName(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(base, "-", "_")
}

// closure returns the files of the needed modules and of their dependencies, each
// after those that it depends on. Modules that are built in have no file. A name in
// neither list is an error.
func closure(dep, builtin string, needed []string) ([]string, error) {
	files, deps := map[string]string{}, map[string][]string{}
	for line := range strings.SplitSeq(dep, "\n") {
		file, list, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		files[moduleName(file)] = file
		deps[file] = strings.Fields(list)
	}
	inKernel := map[string]bool{}
	for file := range strings.FieldsSeq(builtin) {
		inKernel[moduleName(file)] = true
	}
	var order []string
	seen := map[string]bool{}
	var visit func(file string)
	visit = func(file string) {
		if seen[file] {
			return
		}
		seen[file] = true
		for _, d := range deps[file] {
			visit(d)
		}
		order = append(order, file)
	}
	for _, name := range needed {
		file, ok := files[name]
		if ok {
			visit(file)
		} else if !inKernel[name] {
			return nil, fmt.Errorf("find kernel module %s: neither in modules.dep nor in modules.builtin", name)
		}
	}
	for _, file := range order {
		if !fs.ValidPath(file) {
			return nil, fmt.Errorf("read modules.dep: the path %q leads out of the modules", file)
		}
	}
	return order, nil
}

// write writes the modules that the initrd needs to dir, uncompressed, and a
// modules.dep of these alone. It returns their names in the order of loading.
func (m *moduleFiles) write(dir, kernel string) ([]string, error) {
	dep := string(m.files[kernel+"/modules.dep"])
	builtin := m.files[kernel+"/modules.builtin"]
	order, err := closure(dep, string(builtin), neededModules())
	if err != nil {
		return nil, err
	}
	base := filepath.Join(dir, "lib", "modules", kernel)
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("write kernel modules: %w", err)
	}
	names := []string{}
	for _, file := range order {
		plain, err := decompress(file, m.files[kernel+"/"+file])
		if err != nil {
			return nil, fmt.Errorf("read kernel module %s: %w", file, err)
		}
		dest := filepath.Join(base, filepath.FromSlash(plainName(file)))
		if err := os.MkdirAll(filepath.Dir(dest), 0o700); err != nil {
			return nil, fmt.Errorf("write kernel modules: %w", err)
		}
		if err := writeSynced(dest, bytes.NewReader(plain)); err != nil {
			return nil, err
		}
		names = append(names, moduleName(file))
	}
	if err := writeSynced(filepath.Join(base, "modules.dep"), strings.NewReader(plainDep(dep, order))); err != nil {
		return nil, err
	}
	if err := writeSynced(filepath.Join(base, "modules.builtin"), bytes.NewReader(builtin)); err != nil {
		return nil, err
	}
	return names, nil
}

// plainName returns the path of a module's file after decompression.
func plainName(file string) string {
	return strings.TrimSuffix(strings.TrimSuffix(file, ".xz"), ".gz")
}

// plainDep reduces modules.dep to the files in keep. Programs that load modules expect
// no blank after the colon of an empty list.
func plainDep(dep string, keep []string) string {
	kept := map[string]bool{}
	for _, file := range keep {
		kept[file] = true
	}
	var b strings.Builder
	for line := range strings.SplitSeq(dep, "\n") {
		file, list, ok := strings.Cut(line, ":")
		if !ok || !kept[file] {
			continue
		}
		b.WriteString(plainName(file) + ":")
		for d := range strings.FieldsSeq(list) {
			b.WriteString(" " + plainName(d))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func decompress(file string, content []byte) ([]byte, error) {
	if len(content) == 0 {
		return nil, fmt.Errorf("the guest's tree lacks it: %w", fs.ErrNotExist)
	}
	var r io.Reader
	var err error
	switch path.Ext(file) {
	case ".ko":
		return content, nil
	case ".xz":
		r, err = xz.NewReader(bytes.NewReader(content))
	case ".gz":
		r, err = gzip.NewReader(bytes.NewReader(content))
	default:
		return nil, fmt.Errorf("unknown compression %s", path.Ext(file))
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
