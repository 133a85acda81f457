package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What "vmtest exec" copies of the working directory at most, in bytes and in files. All that
// a guest has besides its image is in its memory.
const (
	maxExecBytes = 256 << 20
	maxExecFiles = 20_000
)

// tooMuchError reports that a directory has more than a guest gets.
type tooMuchError struct {
	dir   string
	parts []part // the largest first
}

// part is something directly in a directory, with all that is in it.
type part struct {
	name  string
	files int
	bytes int64
}

// cost returns about how much of the guest's memory a part takes, in KiB.
func (p part) cost() int64 { return p.bytes>>10 + int64(p.files)<<4 }

func (e *tooMuchError) Error() string {
	var largest []string
	for _, p := range e.parts[:min(3, len(e.parts))] {
		largest = append(largest, fmt.Sprintf("%s (%d MiB, %d files)", p.name, p.bytes>>20, p.files))
	}
	return fmt.Sprintf("copy %s to the guest: more than %d MiB or %d files; leave something out with --exclude; the largest are %s",
		e.dir, maxExecBytes>>20, maxExecFiles, strings.Join(largest, ", "))
}

// someFiles is a directory without what is left out. Links in it stay links.
type someFiles struct {
	fs.FS
	exclude []string
}

// filesBelow returns the files of dir that a guest gets. It goes without .git, without what
// is neither file, directory nor link, and without what a pattern matches. It also returns the
// links that lead out of dir.
func filesBelow(dir string, exclude []string) (_ fs.FS, outside []string, err error) {
	f := someFiles{os.DirFS(dir), exclude}
	var parts []part
	var files int
	var size int64
	err = fs.WalkDir(f, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a test of another package has removed it
		} else if err != nil {
			return err
		}
		top, _, _ := strings.Cut(name, "/")
		if len(parts) == 0 || parts[len(parts)-1].name != top {
			parts = append(parts, part{name: top})
		}
		p := &parts[len(parts)-1]
		p.files++
		files++
		if target, err := f.ReadLink(name); err == nil && leadsOut(name, target) {
			outside = append(outside, name+" -> "+target)
		}
		if info.Mode().IsRegular() {
			p.bytes += info.Size()
			size += info.Size()
		}
		if files > 50*maxExecFiles { // enough to tell what is large
			return fs.SkipAll
		}
		return nil
	})
	if err == nil && (files > maxExecFiles || size > maxExecBytes) {
		slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(b.cost(), a.cost()) })
		err = &tooMuchError{dir, parts}
	}
	return f, outside, err
}

// leadsOut reports whether a link of that name leads out of the directory that it is in.
func leadsOut(name, target string) bool {
	return path.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(name), target))
}

// ReadDir returns what a guest gets of a directory.
func (f someFiles) ReadDir(dir string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(f.FS, dir)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return f.without(path.Join(dir, e.Name()), e) }), err
}

func (f someFiles) without(name string, e fs.DirEntry) bool {
	if t := e.Type(); t != 0 && t != fs.ModeDir && t != fs.ModeSymlink || e.Name() == ".git" {
		return true
	}
	return slices.ContainsFunc(f.exclude, func(pattern string) bool {
		whole, _ := path.Match(pattern, name)
		last, _ := path.Match(pattern, e.Name())
		return whole || last
	})
}

// ReadLink returns the target of a link.
func (f someFiles) ReadLink(name string) (string, error) { return fs.ReadLink(f.FS, name) }

// Lstat describes a file, or a link itself.
func (f someFiles) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(f.FS, name) }

// emptyDir is a file system of an empty directory that all may write to.
type emptyDir struct{}

func (d emptyDir) Open(name string) (fs.File, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return d, nil
}

func (d emptyDir) Stat() (fs.FileInfo, error)       { return d, nil }
func (d emptyDir) Read([]byte) (int, error)         { return 0, io.EOF }
func (d emptyDir) Close() error                     { return nil }
func (emptyDir) ReadDir(int) ([]fs.DirEntry, error) { return nil, nil } // fs.ReadDir asks for all
func (emptyDir) Name() string                       { return "." }
func (emptyDir) Size() int64                        { return 0 }
func (emptyDir) Mode() fs.FileMode                  { return fs.ModeDir | fs.ModeSticky | 0o777 }
func (emptyDir) ModTime() time.Time                 { return time.Time{} }
func (emptyDir) IsDir() bool                        { return true }
func (emptyDir) Sys() any                           { return nil }
