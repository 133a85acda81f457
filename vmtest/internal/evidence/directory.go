// Package evidence keeps what a failed test leaves: a directory of files about the guest.
package evidence

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/host"
)

// Kept is how many directories a place keeps. Older ones are removed.
const Kept = 20

// maxFile bounds each file, in bytes.
const maxFile = 32 << 20

// Directory is the evidence about one guest of a failed test. It belongs to this user alone.
type Directory struct {
	path string
	errs []error
}

// Place returns the directory that holds those of failed tests: $VMTEST_EVIDENCE, or evidence
// in the cache. It makes it.
func Place() (string, error) {
	dir := os.Getenv("VMTEST_EVIDENCE")
	if dir == "" {
		return host.Cache("evidence")
	}
	if !filepath.IsAbs(dir) {
		// go test runs each package in its own directory.
		return "", &host.Error{Cause: fmt.Sprintf("VMTEST_EVIDENCE is %q, not an absolute path", dir),
			Cure: "set VMTEST_EVIDENCE to a path that begins with /", Check: host.CacheDirectory}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", host.NoSpace(err)
	}
	return dir, nil
}

// unsafe is what the name of a directory has no part of.
var unsafe = regexp.MustCompile(`[^A-Za-z0-9._=-]+`)

// Make makes a new directory for a test in place, and removes the oldest of those that Make
// made there before, until Kept are left.
func Make(place, test string, now time.Time) (*Directory, error) {
	name := unsafe.ReplaceAllString(test, "_")
	name = now.Format("20060102T150405") + "-" + name[:min(len(name), 100)] + "-"
	path, err := os.MkdirTemp(place, name+"*")
	if err != nil {
		return nil, host.NoSpace(err)
	}
	return &Directory{path: path}, dropOld(place)
}

// made matches the names of directories that Make made.
var made = regexp.MustCompile(`^\d{8}T\d{6}-.*-\d+$`)

// dropOld removes the oldest directories. Another process may do the same.
func dropOld(place string) error {
	entries, err := os.ReadDir(place)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !e.IsDir() || !made.MatchString(e.Name()) })
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	var errs []error
	for _, e := range entries[:max(0, len(entries)-Kept)] {
		errs = append(errs, os.RemoveAll(filepath.Join(place, e.Name())))
	}
	return errors.Join(errs...)
}

// Path returns the path of the directory.
func (d *Directory) Path() string { return d.path }

// Write makes a file of what write writes, up to 32 MiB. It makes no file of nothing. Err
// has what goes wrong.
func (d *Directory) Write(name string, write func(io.Writer) error) {
	if err := d.write(name, write); err != nil {
		d.errs = append(d.errs, fmt.Errorf("%s: %w", name, host.NoSpace(err)))
	}
}

func (d *Directory) write(name string, write func(io.Writer) error) error {
	file, err := os.OpenFile(filepath.Join(d.path, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	out := &limited{w: file, left: maxFile}
	err = write(out)
	if errClose := file.Close(); err == nil {
		err = errClose
	}
	if out.left == maxFile {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return err
}

// Text makes a file of lines.
func (d *Directory) Text(name string, lines ...string) {
	d.Write(name, func(w io.Writer) error {
		if len(lines) == 0 {
			return nil
		}
		_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
		return err
	})
}

// Err returns what went wrong, one error for each file that is not whole.
func (d *Directory) Err() error { return errors.Join(d.errs...) }

// limited writes left bytes at most, and says where it stopped.
type limited struct {
	w    io.Writer
	left int
}

const cutOff = "\n(the rest is left out)\n"

func (l *limited) Write(p []byte) (int, error) {
	if l.left < len(p) {
		if l.left > 0 {
			if _, err := io.WriteString(l.w, string(p[:l.left])+cutOff); err != nil {
				return 0, err
			}
			l.left = 0
		}
		return len(p), nil
	}
	l.left -= len(p)
	return l.w.Write(p)
}
