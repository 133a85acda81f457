// Package evidence keeps what a failed test leaves: a directory of files about the guest.
package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.org/systemd-vmtest/internal/host"
)

// kept is how many directories a place keeps. Older ones are removed.
const kept = 20

// maxFile bounds each file, and maxTotal all of a directory, in bytes.
const (
	maxFile  = 32 << 20
	maxTotal = 128 << 20
)

// Directory is the evidence about one guest of a failed test. It belongs to this user alone.
type Directory struct {
	path  string
	files []File // that Write and Sparse have made
	errs  []error
	used  int64    // bytes
	full  bool     // the disk is
	lost  []string // the files that were not begun for that
}

// room returns how many bytes the next file may have if it leaves some for others.
func (d *Directory) room(others int64) int { return int(max(0, min(maxFile, maxTotal-others-d.used))) }

// partial is the end of the name of a file that is not whole.
const partial = ".part"

// fail notes why a file is not whole, and marks the file.
func (d *Directory) fail(name string, err error) {
	if errRename := os.Rename(filepath.Join(d.path, name), filepath.Join(d.path, name+partial)); errRename == nil {
		for i := range d.files {
			if d.files[i].Name == name {
				d.files[i].Name += partial
			}
		}
		name += partial
	}
	d.full = d.full || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	d.errs = append(d.errs, fmt.Errorf("%s: %w", name, host.NoSpace(err)))
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
			Cure: "set VMTEST_EVIDENCE to a path that begins with /", Check: ""} // no line is about it
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", host.NoSpace(err)
	}
	return dir, nil
}

// unsafeChars matches characters that names of directories do not have.
var unsafeChars = regexp.MustCompile(`[^A-Za-z0-9._=-]+`)

// Make makes a new directory for a test in place. Of those that Make made there more than an
// hour before, it removes the oldest until 20 are left in all.
func Make(place, test string, now time.Time) (*Directory, error) {
	name := unsafeChars.ReplaceAllString(test, "_")
	name = now.UTC().Format(stamp) + "-" + name[:min(len(name), 100)] + "-"
	path, err := os.MkdirTemp(place, name+"*")
	if err != nil {
		return nil, host.NoSpace(err)
	}
	d := &Directory{path: path}
	if err := dropOld(place, now.Add(-inUse)); err != nil {
		d.errs = append(d.errs, fmt.Errorf("remove old evidence: %w", err))
	}
	return d, nil
}

// inUse is how long a directory stays in any case: a test may still write there, and a user
// reads what a run has left.
const inUse = time.Hour

// stamp is the time with which the name of a directory begins, in UTC.
const stamp = "20060102T150405.000000"

// made matches the names of directories that Make made.
var made = regexp.MustCompile(`^\d{8}T\d{6}\.\d{6}-.*-\d+$`)

// dropOld removes the oldest directories from before a time. Another process may do the same.
func dropOld(place string, before time.Time) error {
	entries, err := os.ReadDir(place) // sorted by name
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !e.IsDir() || !made.MatchString(e.Name()) })
	var errs []error
	for _, e := range entries[:max(0, len(entries)-kept)] {
		if at, err := time.Parse(stamp, e.Name()[:len(stamp)]); err == nil && at.Before(before) {
			errs = append(errs, os.RemoveAll(filepath.Join(place, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Path returns the path of the directory.
func (d *Directory) Path() string { return d.path }

// Write makes a file of what write writes, up to 32 MiB, or less if the directory has 128 MiB.
// It makes no file of nothing. Err has what goes wrong. A file that is not whole for that ends
// in .part.
func (d *Directory) Write(name string, write func(io.Writer) error) {
	d.writeUpTo(d.room(0), name, write)
}

// writeUpTo is Write for a file of up to room bytes.
func (d *Directory) writeUpTo(room int, name string, write func(io.Writer) error) {
	d.make(name, func(file *os.File) error { return d.fill(file, room, write) })
}

// make makes a file, which fill fills.
func (d *Directory) make(name string, fill func(*os.File) error) {
	if d.full {
		d.lost = append(d.lost, name)
		return
	}
	file, err := os.OpenFile(filepath.Join(d.path, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		d.Fail(name, err)
		return
	case err == nil:
		err = fill(file)
		file.Close()
	}
	if err != nil {
		d.fail(name, err)
	}
}

// fill writes what write writes, and closes the file.
func (d *Directory) fill(file *os.File, room int, write func(io.Writer) error) error {
	sum := sha256.New()
	out := &limited{w: io.MultiWriter(file, sum), left: room}
	err := write(out)
	d.used += int64(room - out.left)
	if errClose := file.Close(); err == nil {
		err = errClose
	}
	if out.left == room && !out.cut {
		return errors.Join(err, os.Remove(file.Name()))
	}
	d.note(file.Name(), sum)
	return err
}

// note notes a file for the record.
func (d *Directory) note(path string, sum hash.Hash) {
	if info, err := os.Stat(path); err == nil {
		d.files = append(d.files, File{Name: filepath.Base(path), Bytes: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil))})
	}
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

// Fail notes that something is missing.
func (d *Directory) Fail(what string, err error) {
	d.errs = append(d.errs, fmt.Errorf("%s: %w", what, err))
}

// Err returns what went wrong, one error for each file that is not whole.
func (d *Directory) Err() error {
	errs := d.errs
	if len(d.lost) > 0 {
		errs = append(slices.Clone(errs), fmt.Errorf("not written either: %s", strings.Join(d.lost, ", ")))
	}
	return errors.Join(errs...)
}

// limited writes left bytes at most, and says where it stopped.
type limited struct {
	w    io.Writer
	left int
	cut  bool
}

const cutOff = "\n(the rest is left out)\n"

func (l *limited) Write(p []byte) (int, error) {
	fits := p[:min(len(p), l.left)]
	l.left -= len(fits)
	if _, err := l.w.Write(fits); err != nil {
		return 0, err
	}
	if len(fits) < len(p) && !l.cut {
		l.cut = true
		if _, err := io.WriteString(l.w, cutOff); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
