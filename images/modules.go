package images

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/internal/kmod"
)

// neededModules returns the modules that an initrd needs for its root and the agent.
// Some kernels have some of them built in.
func neededModules() []string {
	return []string{"virtio_pci", "virtio_blk", "virtio_console", "virtio_rng", "squashfs", "overlay"}
}

// moduleFiles are a kernel's modules as in the guest's tree, by their path below
// lib/modules. Which of them the initrd needs is known when all have been read, so they
// wait in a file without a name.
type moduleFiles struct {
	dir   string // of the file
	spool *os.File
	size  int64
	files map[string]span
}

// span is a part of a file.
type span struct{ start, size int64 }

// needs reports whether a file is to be added.
func (m *moduleFiles) needs(name string) bool {
	switch path.Base(name) {
	case "modules.dep", "modules.builtin":
		return true
	}
	return strings.Contains(path.Base(name), ".ko")
}

func (m *moduleFiles) add(name string, content []byte) error {
	if m.spool == nil {
		spool, err := host.Nameless(m.dir)
		if err != nil {
			return err
		}
		m.spool, m.files = spool, map[string]span{}
	}
	n, err := m.spool.Write(content)
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	m.files[name] = span{m.size, int64(n)}
	m.size += int64(n)
	return nil
}

// close closes the file.
func (m *moduleFiles) close() {
	if m.spool != nil {
		_ = m.spool.Close() // it was only read
	}
}

// neededFiles returns the files of the modules that an initrd needs, of extra ones, and of
// those that they depend on, in the order of loading.
func neededFiles(index kmod.Index, extra ...string) ([]string, error) {
	files, err := index.Files(append(neededModules(), extra...)...)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if !fs.ValidPath(file) {
			return nil, fmt.Errorf("read modules.dep: the path %q leads out of the modules", file)
		}
	}
	return files, nil
}

// read returns the content of a file of a kernel's modules.
func (m *moduleFiles) read(kernel, name string) ([]byte, error) {
	at, ok := m.files[kernel+"/"+name]
	if !ok {
		return nil, fmt.Errorf("the guest's tree lacks it: %w", fs.ErrNotExist)
	}
	return io.ReadAll(io.NewSectionReader(m.spool, at.start, at.size))
}

// writeModules writes the modules that the initrd needs, and extra ones, to dir,
// uncompressed, and a modules.dep of these alone. It returns their names in the order of
// loading. read returns the content of a file that is named below lib/modules/KERNEL.
func writeModules(dir, kernel string, read func(name string) ([]byte, error), extra ...string) ([]string, error) {
	dep, err := read("modules.dep")
	if err != nil {
		return nil, fmt.Errorf("read modules.dep: %w", err)
	}
	builtin, err := read("modules.builtin")
	if err != nil {
		return nil, fmt.Errorf("read modules.builtin: %w", err)
	}
	order, err := neededFiles(kmod.ParseIndex(string(dep), string(builtin)), extra...)
	if err != nil {
		return nil, err
	}
	base := filepath.Join(dir, "lib", "modules", kernel)
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("write kernel modules: %w", err)
	}
	names := []string{}
	for _, file := range order {
		content, err := read(file)
		if err == nil {
			content, err = decompressModule(file, content)
		}
		if err != nil {
			return nil, fmt.Errorf("read kernel module %s: %w", file, err)
		}
		dest := filepath.Join(base, filepath.FromSlash(plainName(file)))
		if err := os.MkdirAll(filepath.Dir(dest), 0o700); err != nil {
			return nil, fmt.Errorf("write kernel modules: %w", err)
		}
		if err := writeSynced(dest, bytes.NewReader(content)); err != nil {
			return nil, err
		}
		names = append(names, kmod.Name(file))
	}
	if err := writeSynced(filepath.Join(base, "modules.dep"), strings.NewReader(plainDep(string(dep), order))); err != nil {
		return nil, err
	}
	if err := writeSynced(filepath.Join(base, "modules.builtin"), bytes.NewReader(builtin)); err != nil {
		return nil, err
	}
	return names, nil
}

// plainName returns the path of a module's file after decompression.
func plainName(file string) string {
	for _, suffix := range []string{".xz", ".gz", zstdSuffix} {
		file = strings.TrimSuffix(file, suffix)
	}
	return file
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
