package inputs

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

	"golang.org/x/sys/unix"
)

// sight is what a path shows.
type sight struct {
	content string // digest of names, modes and content
	change  string // digest of what moves with each write: inodes and change times
}

// absent is the content of a path that does not exist. Another file may come to be there.
const absent = "absent"

// look reads a file, or a directory with all below it. It follows a symbolic link at path
// and none below it, as link.Client.CopyIn does. The content of a path that cannot be
// read is "".
func look(path string) sight {
	l := looker{content: sha256.New(), change: sha256.New()}
	err := l.walk(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return sight{content: absent}
		}
	}
	if err != nil {
		return sight{}
	}
	return sight{hex.EncodeToString(l.content.Sum(nil)), hex.EncodeToString(l.change.Sum(nil))}
}

type looker struct{ content, change hash.Hash }

func (l looker) walk(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return l.file(path, ".", info)
	}
	return fs.WalkDir(os.DirFS(path), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return l.file(filepath.Join(path, name), name, info)
	})
}

// file adds one entry, whose path below the top is name.
func (l looker) file(path, name string, info fs.FileInfo) error {
	fmt.Fprintf(l.content, "%q %v ", name, info.Mode())
	switch info.Mode().Type() {
	case fs.ModeDir:
		return l.stamp(path, unix.AT_SYMLINK_NOFOLLOW)
	case fs.ModeSymlink:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(l.content, "%q", target)
		return l.stamp(path, unix.AT_SYMLINK_NOFOLLOW)
	case 0:
		if err := l.stamp(path, 0); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		n, err := io.Copy(h, f)
		fmt.Fprintf(l.content, "%d %x", n, h.Sum(nil))
		return err
	}
	return fmt.Errorf("look at %s: neither file, directory nor symlink", path)
}

func (l looker) stamp(path string, flags int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(unix.AT_FDCWD, path, &st, flags); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	fmt.Fprintf(l.change, "%d %d %d ", st.Dev, st.Ino, st.Ctim.Nano())
	return nil
}
