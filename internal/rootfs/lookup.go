package rootfs

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// maxHops is the most symbolic links on the way to a file, as in Linux.
const maxHops = 40

// Flags of walk.
const (
	walkMake   = 1 << iota // make directories that are missing on the way
	walkFollow             // follow a link at the end of the path
)

// place is where a path leads to.
type place struct {
	above []*Node // the directories on the way, from the root
	names []string
	dir   *Node  // the last of them
	name  string // in dir; "" if the path leads to dir itself
	node  *Node  // nil if dir has no such name
}

// walk finds a path. Links lead to places in the tree, as they do once it is the root
// directory of a process.
func (t *Tree) walk(name string, flags int) (place, error) {
	p := place{above: []*Node{t.root}}
	todo := parts(name)
	for hops := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		p.dir = p.above[len(p.above)-1]
		if part == ".." {
			if len(p.names) > 0 {
				p.above, p.names = p.above[:len(p.above)-1], p.names[:len(p.names)-1]
			}
			continue
		}
		if p.dir.Type != tar.TypeDir {
			return p, fmt.Errorf("/%s: %w", strings.Join(p.names, "/"), syscall.ENOTDIR)
		}
		last := len(todo) == 0
		child := p.dir.children[part]
		if child != nil && child.Type == tar.TypeSymlink && (!last || flags&walkFollow != 0) {
			if hops++; hops > maxHops {
				return p, fmt.Errorf("%q: %w", name, syscall.ELOOP)
			}
			if strings.HasPrefix(child.Target, "/") {
				p.above, p.names = p.above[:1], nil
			}
			todo = append(parts(child.Target), todo...)
			continue
		}
		if last {
			p.name, p.node = part, child
			return p, nil
		}
		if child == nil {
			if flags&walkMake == 0 {
				return p, fs.ErrNotExist
			}
			if t.entries++; t.entries > maxEntries {
				return p, errMany
			}
			child = newDir()
			p.dir.children[part] = child
		}
		p.above, p.names = append(p.above, child), append(p.names, part)
	}
	p.dir = p.above[len(p.above)-1]
	p.node = p.dir
	return p, nil
}

// parts returns the elements of a path without "" and ".".
func parts(name string) []string {
	var list []string
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && part != "." {
			list = append(list, part)
		}
	}
	return list
}

// Lookup returns the node of a path, and its path without links. It follows links. The
// error wraps fs.ErrNotExist if there is no such node.
func (t *Tree) Lookup(name string) (*Node, string, error) {
	p, err := t.walk(name, walkFollow)
	if err == nil && p.node == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, "", &fs.PathError{Op: "find", Path: name, Err: err}
	}
	names := p.names
	if p.name != "" {
		names = append(names, p.name)
	}
	return p.node, strings.Join(names, "/"), nil
}

// Has reports whether a path exists. It follows links.
func (t *Tree) Has(name string) bool {
	_, _, err := t.Lookup(name)
	return err == nil
}

// IsLink reports whether a path is a symbolic link.
func (t *Tree) IsLink(name string) bool {
	_, ok := t.ReadLink(name)
	return ok
}

// ReadLink returns the target of a path that is a symbolic link.
func (t *Tree) ReadLink(name string) (target string, ok bool) {
	p, err := t.walk(name, 0)
	if err != nil || p.node == nil || p.node.Type != tar.TypeSymlink {
		return "", false
	}
	return p.node.Target, true
}
