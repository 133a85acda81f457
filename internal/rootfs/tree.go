// Package rootfs reads the root file system of a Linux system from a directory, a tar
// archive or a container image.
//
// A [Tree] is an index in memory, and the contents of all files are in one file without
// a name. Nothing is unpacked: a path, a link, a device or a set-user-ID bit of an
// archive cannot have an effect on the host. Sizes are bounded, because an archive may
// come from anywhere.
package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"example.org/systemd-vmtest/internal/host"
)

// Bounds of a tree. squashfs and Linux have those of names.
const (
	maxName    = 255
	maxPath    = 4096
	maxEntries = 2 << 20   // that were added, whether or not they are still there
	maxText    = 256 << 20 // bytes of names, targets and extended attributes
)

// Tree is the root file system. It is not for concurrent use.
type Tree struct {
	// Kind is what the tree was read from: "directory", "tar archive", "OCI layout" or
	// "docker archive".
	Kind string

	root    *Node
	dir     string   // of the spool
	spool   *os.File // the contents of all files
	size    int64    // bytes in the spool
	max     int64    // the most bytes in the spool
	checked int64    // the size at which there was room in dir
	layer   int      // that is being added
	entries int
	text    int64
}

// Node is a file, directory, link or device of a tree.
type Node struct {
	Type     byte  // as Typeflag of a tar.Header: TypeReg, TypeDir, TypeSymlink, TypeChar, TypeBlock or TypeFifo
	Mode     int64 // permissions with set-user-ID, set-group-ID and sticky bit
	Uid, Gid int
	Modified time.Time
	Major    int64 // of a device
	Minor    int64
	Target   string // of a symbolic link
	Size     int64  // bytes of a file

	xattrs   map[string]string // as PAX records
	start    int64             // of the content in the spool
	links    int               // hard links besides the first name
	children map[string]*Node  // of a directory
	layer    int               // that changed it, or something below it, last
}

// New returns an empty tree. Its contents are at most max bytes, in a file without a name
// in the file system of dir. The caller closes the tree.
func New(dir string, max int64) (*Tree, error) {
	spool, err := host.Nameless(dir)
	if err != nil {
		return nil, err
	}
	return &Tree{root: newDir(), dir: dir, spool: spool, max: max}, nil
}

// Close removes the contents.
func (t *Tree) Close() { _ = t.spool.Close() } // it was only read

func newDir() *Node {
	return &Node{Type: tar.TypeDir, Mode: 0o755, children: map[string]*Node{}}
}

// Names returns the sorted names in a directory.
func (n *Node) Names() []string { return slices.Sorted(maps.Keys(n.children)) }

// Executable reports whether a node is a file that may be executed.
func (n *Node) Executable() bool { return n.Type == tar.TypeReg && n.Mode&0o111 != 0 }

// Content returns the content of a file.
func (t *Tree) Content(n *Node) *io.SectionReader {
	return io.NewSectionReader(t.spool, n.start, n.Size)
}

// ReadFile returns the content of a file of at most limit bytes. It follows links.
func (t *Tree) ReadFile(name string, limit int64) ([]byte, error) {
	n, _, err := t.Lookup(name)
	switch {
	case err != nil:
		return nil, err
	case n.Type != tar.TypeReg:
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	case n.Size > limit:
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("more than %d bytes", limit)}
	}
	return io.ReadAll(t.Content(n))
}

// WriteFile replaces a file of the tree, or adds it. It follows links of directories only.
func (t *Tree) WriteFile(name string, content []byte, mode int64) error {
	return t.add(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))},
		bytes.NewReader(content))
}

// Remove removes a path, if there is one, with everything below it. It follows links of
// the directories above it.
func (t *Tree) Remove(name string) {
	if p, err := t.walk(name, 0); err == nil && p.name != "" {
		delete(p.dir.children, p.name)
	}
}

// Bytes returns the size of all contents, at least that of WriteTar's.
func (t *Tree) Bytes() int64 { return t.size }

// MakeDir adds a directory unless the path exists.
func (t *Tree) MakeDir(name string) error {
	if _, _, err := t.Lookup(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return t.add(&tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
}

// EmptyDir makes a path an empty directory, whatever it was. It follows links of the
// directories above it.
func (t *Tree) EmptyDir(name string) error {
	p, err := t.walk(name, walkMake)
	switch {
	case err != nil:
		return badEntry(name, err)
	case p.node != nil && p.node.Type == tar.TypeDir:
		clear(p.node.children)
	default:
		p.dir.children[p.name] = newDir()
	}
	return nil
}

// add adds an entry of an archive, with its content.
func (t *Tree) add(hdr *tar.Header, content io.Reader) error {
	name, err := t.check(hdr)
	if err != nil || name == "." {
		return err // the root has attributes of its own
	}
	p, err := t.walk(name, walkMake)
	if err != nil {
		return badEntry(hdr.Name, err)
	}
	n := &Node{Type: hdr.Typeflag, Mode: hdr.Mode & 0o7777, Uid: hdr.Uid, Gid: hdr.Gid, Modified: hdr.ModTime,
		xattrs: Xattrs(hdr)}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		n.Type = tar.TypeReg
		if err := t.store(n, hdr, content); err != nil {
			return err
		}
	case tar.TypeDir:
		n.children = map[string]*Node{}
		if p.node != nil && p.node.Type == tar.TypeDir {
			n.children = p.node.children
		}
	case tar.TypeSymlink:
		n.Target = hdr.Linkname
	case tar.TypeLink:
		if n, err = t.linked(hdr); err != nil {
			return err
		}
	case tar.TypeChar, tar.TypeBlock:
		n.Major, n.Minor = hdr.Devmajor, hdr.Devminor
	case tar.TypeFifo:
	default:
		return badEntry(hdr.Name, fmt.Errorf("its type %q is not known", hdr.Typeflag))
	}
	p.dir.children[p.name] = n
	n.layer = t.layer
	for _, dir := range p.above {
		dir.layer = t.layer
	}
	return nil
}

// check returns the path of an entry. It fails for what cannot be in a root file system,
// and for more entries than any has.
func (t *Tree) check(hdr *tar.Header) (string, error) {
	t.entries++
	t.text += int64(len(hdr.Name) + len(hdr.Linkname))
	for key, value := range hdr.PAXRecords {
		t.text += int64(len(key) + len(value))
	}
	switch {
	case t.entries > maxEntries:
		return "", &Error{Cause: errMany.Error(), Err: errMany}
	case t.text > maxText:
		return "", &Error{Cause: fmt.Sprintf("its names and attributes are of more than %d MiB", maxText>>20)}
	case len(hdr.Name) > maxPath || len(hdr.Linkname) > maxPath:
		return "", badEntry(hdr.Name[:min(maxName, len(hdr.Name))], fmt.Errorf("a path of more than %d bytes", maxPath))
	case hdr.Uid < 0 || hdr.Gid < 0 || int64(hdr.Uid) > 1<<32-1 || int64(hdr.Gid) > 1<<32-1:
		return "", badEntry(hdr.Name, fmt.Errorf("no user or group can be %d:%d", hdr.Uid, hdr.Gid))
	}
	for part := range strings.SplitSeq(hdr.Name, "/") {
		switch {
		case part == "..":
			return "", badEntry(hdr.Name, errLeads)
		case len(part) > maxName:
			return "", badEntry(hdr.Name, fmt.Errorf("a name of more than %d bytes", maxName))
		}
	}
	// Container tools take an absolute path from the root of the tree.
	return path.Clean("./" + strings.TrimLeft(hdr.Name, "/")), nil
}

var (
	errLeads = errors.New("the path leads out of the tree") // by ".."
	errMany  = fmt.Errorf("it has more than %d entries", maxEntries)
)

// linked returns the file that a hard link is another name of.
func (t *Tree) linked(hdr *tar.Header) (*Node, error) {
	if slices.Contains(strings.Split(hdr.Linkname, "/"), "..") {
		return nil, badEntry(hdr.Name, fmt.Errorf("hard link to %q: %w", hdr.Linkname, errLeads))
	}
	p, err := t.walk(hdr.Linkname, 0)
	switch {
	case err == nil && p.node == nil:
		err = fs.ErrNotExist
	case err == nil && p.node.Type == tar.TypeDir:
		err = errors.New("a directory")
	}
	if err != nil {
		return nil, badEntry(hdr.Name, fmt.Errorf("hard link to %q in the tree: %w", hdr.Linkname, err))
	}
	p.node.links++
	return p.node, nil
}

// Xattrs returns the extended attributes of an entry that squashfs can hold, such as file
// capabilities, and that mean something outside an overlay. squashfs cannot hold POSIX ACLs.
func Xattrs(hdr *tar.Header) map[string]string {
	kept := map[string]string{}
	for key, value := range hdr.PAXRecords {
		if strings.HasPrefix(key, "SCHILY.xattr.security.") || strings.HasPrefix(key, "SCHILY.xattr.user.") {
			kept[key] = value
		}
	}
	return kept
}
