// Package kmod finds Linux kernel modules by name, in the order of loading.
//
// It reads the indexes that depmod(8) writes into lib/modules/VERSION.
package kmod

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"strings"

	"example.org/systemd-vmtest/internal/unxz"
)

// Index lists a kernel's modules.
type Index struct {
	files   map[string]string   // module's name to file
	needs   map[string][]string // file to the files that it depends on
	builtin map[string]bool     // by name
}

// ParseIndex reads the text of modules.dep and of modules.builtin. Lines that are not
// of their form are skipped.
func ParseIndex(dep, builtin string) Index {
	x := Index{files: map[string]string{}, needs: map[string][]string{}, builtin: map[string]bool{}}
	for line := range strings.SplitSeq(dep, "\n") {
		file, list, ok := strings.Cut(line, ":")
		if !ok || file == "" {
			continue
		}
		x.files[Name(file)] = file
		x.needs[file] = strings.Fields(list)
	}
	for file := range strings.FieldsSeq(builtin) {
		x.builtin[Name(file)] = true
	}
	return x
}

// Name returns the kernel's name of the module in a file. Names of files have dashes
// and underscores, names of modules only underscores.
func Name(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(base, "-", "_")
}

// Has reports whether the kernel has a module, built in or not.
func (x Index) Has(name string) bool {
	name = strings.ReplaceAll(name, "-", "_")
	return x.files[name] != "" || x.builtin[name]
}

// Files returns the files of modules and of all that they depend on, as modules.dep
// has them. Each comes after those that it depends on. Modules that are built into
// the kernel have no file. A name that is in neither index is an error.
func (x Index) Files(names ...string) ([]string, error) {
	var order []string
	seen := map[string]bool{}
	var visit func(file string)
	visit = func(file string) {
		if seen[file] {
			return
		}
		seen[file] = true
		for _, need := range x.needs[file] {
			visit(need)
		}
		order = append(order, file)
	}
	for _, name := range names {
		name = strings.ReplaceAll(name, "-", "_")
		if file, ok := x.files[name]; ok {
			visit(file)
		} else if !x.builtin[name] {
			return nil, fmt.Errorf("find kernel module %s: neither in modules.dep nor in modules.builtin", name)
		}
	}
	return order, nil
}

// maxSize is the most bytes that ReadAll returns. The largest modules of Debian's
// kernels have about 10 MiB.
const maxSize = 64 << 20

// ReadAll reads r to its end. More than 64 MiB are an error, because r may be an
// archive that expands without end.
func ReadAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err == nil && len(b) > maxSize {
		return nil, fmt.Errorf("more than %d MiB", maxSize>>20)
	}
	return b, err
}

// Decompress returns the content of a module's file uncompressed, of at most 64 MiB.
// The name of the file shows the compression: none, gzip or xz.
func Decompress(file string, content []byte) ([]byte, error) {
	var r io.Reader
	var err error
	switch ext := path.Ext(file); ext {
	case ".ko":
		return content, nil
	case ".gz":
		r, err = gzip.NewReader(bytes.NewReader(content))
	case ".xz":
		r, err = unxz.NewReader(bytes.NewReader(content))
	default:
		return nil, fmt.Errorf("decompress %s: unknown compression %s", file, ext)
	}
	if err == nil {
		content, err = ReadAll(r)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", file, err)
	}
	return content, nil
}
