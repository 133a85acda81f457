package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
)

// mountPoints are the directories that a booted system has other content in.
var mountPoints = []string{"dev", "proc", "run", "sys"}

// dirReader adds a directory of the host to a tree.
type dirReader struct {
	ctx   context.Context
	tree  *Tree
	root  *os.Root // nothing is read that is not below it
	at    string   // path in the tree
	owner uint32   // of the root; root's in the tree
	group uint32
	seen  map[inode]string // first name of files with several
}

type inode struct{ dev, ino uint64 }

// AddDir adds the content of the host's directory dir at a path of the tree. Files of the
// owner of dir belong to root in the tree, so that an ordinary user can have one.
func (t *Tree) AddDir(ctx context.Context, dir, at string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("read directory: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return fmt.Errorf("read directory: %w", err)
	}
	top := info.Sys().(*syscall.Stat_t)
	r := &dirReader{ctx: ctx, tree: t, root: root, at: at, owner: top.Uid, group: top.Gid, seen: map[inode]string{}}
	return r.dir(".")
}

func (r *dirReader) dir(name string) error {
	f, err := r.root.Open(name)
	if err != nil {
		return unreadable(name, err)
	}
	list, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return unreadable(name, err)
	}
	slices.Sort(list)
	for _, base := range list {
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		if err := r.entry(path.Join(name, base)); err != nil {
			return err
		}
	}
	return nil
}

func (r *dirReader) entry(name string) error {
	info, err := r.root.Lstat(name)
	if err != nil {
		return unreadable(name, err)
	}
	sys := info.Sys().(*syscall.Stat_t)
	hdr := &tar.Header{
		Name: path.Join(r.at, name), Mode: int64(sys.Mode & 0o7777), Uid: int(sys.Uid), Gid: int(sys.Gid),
		ModTime: info.ModTime(), Devmajor: int64(unix.Major(sys.Rdev)), Devminor: int64(unix.Minor(sys.Rdev)),
	}
	if sys.Uid == r.owner {
		hdr.Uid = 0
	}
	if sys.Gid == r.group {
		hdr.Gid = 0
	}
	id := inode{sys.Dev, sys.Ino}
	first, again := r.seen[id]
	switch mode := info.Mode(); {
	case mode.IsDir():
		hdr.Typeflag = tar.TypeDir
		if err := r.tree.add(hdr, nil); err != nil || slices.Contains(mountPoints, hdr.Name) {
			return err
		}
		return r.dir(name)
	case mode&fs.ModeSocket != 0:
		return nil // its process is not in the tree
	case again:
		hdr.Typeflag, hdr.Linkname = tar.TypeLink, first
	case mode.IsRegular():
		return r.file(name, hdr, id)
	case mode&fs.ModeSymlink != 0:
		hdr.Typeflag = tar.TypeSymlink
		if hdr.Linkname, err = r.root.Readlink(name); err != nil {
			return unreadable(name, err)
		}
	case mode&fs.ModeCharDevice != 0:
		hdr.Typeflag = tar.TypeChar
	case mode&fs.ModeDevice != 0:
		hdr.Typeflag = tar.TypeBlock
	case mode&fs.ModeNamedPipe != 0:
		hdr.Typeflag = tar.TypeFifo
	}
	if !again && sys.Nlink > 1 {
		r.seen[id] = hdr.Name
	}
	return r.tree.add(hdr, nil)
}

func (r *dirReader) file(name string, hdr *tar.Header, id inode) error {
	f, err := r.root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return unreadable(name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return unreadable(name, errors.Join(err, errors.New("it was replaced meanwhile")))
	}
	hdr.Typeflag, hdr.Size = tar.TypeReg, info.Size()
	hdr.PAXRecords = fileXattrs(f)
	if err := r.tree.add(hdr, host.Reader(r.ctx, f)); err != nil {
		return err
	}
	if info.Sys().(*syscall.Stat_t).Nlink > 1 {
		r.seen[id] = hdr.Name
	}
	return nil
}

// fileXattrs returns the extended attributes of a file as PAX records.
func fileXattrs(f *os.File) map[string]string {
	fd := int(f.Fd())
	list := make([]byte, 64<<10) // the most that Linux returns
	n, err := unix.Flistxattr(fd, list)
	if err != nil {
		return nil // the file system has none
	}
	records := map[string]string{}
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		value := make([]byte, 64<<10)
		if n, err := unix.Fgetxattr(fd, name, value); name != "" && err == nil {
			records["SCHILY.xattr."+name] = string(value[:n])
		}
	}
	return records
}

func unreadable(name string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &Error{Cause: fmt.Sprintf("it has %q, which this user may not read", name), Cure: "import it as root, or as a tar archive that root has made", Err: err}
	}
	return &Error{Cause: fmt.Sprintf("it has %q, which cannot be read: %s", name, err), Err: err}
}
