package rootfs

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"time"
)

// WriteTar writes the tree as a tar archive, sorted by path, without its root directory.
// Equal trees give equal archives.
func (t *Tree) WriteTar(ctx context.Context, w io.Writer) error {
	tw := &treeWriter{ctx: ctx, tree: t, tar: tar.NewWriter(w), written: map[*Node]string{}}
	if err := tw.dir("./", t.root); err != nil {
		return err
	}
	if err := tw.tar.Close(); err != nil {
		return fmt.Errorf("write tree: %w", err)
	}
	return nil
}

type treeWriter struct {
	ctx     context.Context
	tree    *Tree
	tar     *tar.Writer
	written map[*Node]string // of files with several names, the first one
}

// dir writes what is in a directory. The path ends in a slash.
func (w *treeWriter) dir(path string, n *Node) error {
	for _, name := range n.Names() {
		if err := w.node(path+name, n.children[name]); err != nil {
			return err
		}
	}
	return nil
}

func (w *treeWriter) node(path string, n *Node) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if len(path) > maxPath { // links on the way can make it longer than in its entry
		return badEntry(path[:maxName]+"...", fmt.Errorf("a path of more than %d bytes", maxPath))
	}
	hdr := header(path, n)
	if first, ok := w.written[n]; ok {
		hdr = &tar.Header{Format: tar.FormatPAX, Typeflag: tar.TypeLink, Name: path, Linkname: first, ModTime: hdr.ModTime}
	} else if n.links > 0 {
		w.written[n] = path
	}
	if n.Type == tar.TypeDir {
		hdr.Name += "/"
	}
	if err := w.tar.WriteHeader(hdr); err != nil {
		return fmt.Errorf("write tree: %w", err)
	}
	if hdr.Typeflag == tar.TypeReg {
		if _, err := io.Copy(w.tar, w.tree.Content(n)); err != nil {
			return fmt.Errorf("write tree: %w", err)
		}
	}
	if n.Type == tar.TypeDir {
		return w.dir(path+"/", n)
	}
	return nil
}

// header returns the entry of a node. squashfs has times of 32 bits.
func header(path string, n *Node) *tar.Header {
	hdr := &tar.Header{
		Format: tar.FormatPAX, Typeflag: n.Type, Name: path, Linkname: n.Target,
		Mode: n.Mode, Uid: n.Uid, Gid: n.Gid, Devmajor: n.Major, Devminor: n.Minor,
		ModTime:    time.Unix(min(max(n.Modified.Unix(), 0), math.MaxUint32), 0),
		PAXRecords: maps.Clone(n.xattrs),
	}
	if n.Type == tar.TypeReg {
		hdr.Size = n.Size
	}
	return hdr
}
