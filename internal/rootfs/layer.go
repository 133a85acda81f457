package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"path"
	"strings"
)

// Whiteouts of the OCI image specification, layer.md.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// addTar adds the entries of a tar stream. Those of a layer can be whiteouts. It reads
// the stream to its end.
func (t *Tree) addTar(ctx context.Context, r io.Reader, isLayer bool) error {
	t.layer++
	in := &endReader{Reader: r}
	tr := tar.NewReader(in)
	for first := true; ; first = false {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		hdr, err := tr.Next()
		switch {
		case errors.Is(err, io.EOF):
			if !isLayer && !in.ended() { // the digest shows a torn layer
				return asError(io.ErrUnexpectedEOF)
			}
			_, err = io.Copy(io.Discard, r) // checks a compressor's sum
			return asError(err)
		case errors.Is(err, tar.ErrHeader) && first:
			return &Error{Cause: "it is not a tar archive", Cure: kindsCure, Err: err}
		case err != nil:
			return asError(err)
		}
		if hdr.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if base := path.Base(hdr.Name); isLayer && strings.HasPrefix(base, whiteout) {
			err = t.hide(hdr.Name)
		} else {
			err = t.add(hdr, tr)
		}
		if err != nil {
			return err
		}
	}
}

// hide removes from the layers below what a whiteout names.
func (t *Tree) hide(name string) error {
	if _, err := t.check(&tar.Header{Name: name}); err != nil {
		return err
	}
	base := path.Base(name)
	p, err := t.walk(path.Dir(name), walkFollow)
	if err != nil || p.node == nil || p.node.Type != tar.TypeDir {
		return nil // there is nothing to hide
	}
	switch {
	case base == opaque:
		for child := range p.node.children {
			t.prune(p.node, child)
		}
	case !strings.HasPrefix(base, whiteout+whiteout): // others are notes of AUFS
		t.prune(p.node, strings.TrimPrefix(base, whiteout))
	}
	return nil
}

// prune removes a name from a directory, except for what the present layer has put there.
func (t *Tree) prune(dir *Node, name string) {
	n := dir.children[name]
	switch {
	case n == nil:
	case n.layer < t.layer:
		delete(dir.children, name)
	case n.Type == tar.TypeDir:
		for child := range n.children {
			t.prune(n, child)
		}
	}
}

// endReader remembers the last block, which is of zeros at the end of a whole tar archive.
type endReader struct {
	io.Reader
	last [512]byte
	any  bool // whether a byte was read
}

func (r *endReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.any = r.any || n > 0
	if n >= len(r.last) {
		copy(r.last[:], b[n-len(r.last):])
	} else {
		copy(r.last[:], r.last[n:])
		copy(r.last[len(r.last)-n:], b[:n])
	}
	return n, err
}

// ended reports whether the last block was one of zeros. The archive/tar package reads
// whole blocks.
func (r *endReader) ended() bool { return r.any && r.last == [512]byte{} }
