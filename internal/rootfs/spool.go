package rootfs

import (
	"archive/tar"
	"fmt"
	"io"

	"example.org/systemd-vmtest/internal/host"
)

// spaceMargin is what an import leaves free in the file system of the cache, and
// spaceStep how many bytes it writes between two looks at the free space.
const (
	spaceMargin = 256 << 20
	spaceStep   = 128 << 20
)

// store copies the content of an entry to the spool.
func (t *Tree) store(n *Node, hdr *tar.Header, content io.Reader) error {
	if hdr.Size > t.max-t.size {
		return &Error{Cause: fmt.Sprintf("%q has %s, and the whole may have %s", hdr.Name, gigabytes(hdr.Size), gigabytes(t.max)),
			Cure: moreCure}
	}
	if hdr.Size > spaceStep || t.size-t.checked > spaceStep {
		if err := host.CheckSpace(t.dir, hdr.Size+spaceMargin, "an import"); err != nil {
			return err
		}
		t.checked = t.size
	}
	w := &spoolWriter{t: t}
	n.start = t.size
	var err error
	n.Size, err = io.Copy(w, io.LimitReader(content, hdr.Size))
	switch {
	case w.err != nil:
		return fmt.Errorf("keep %q: %w", hdr.Name, w.err)
	case err != nil:
		return asError(err)
	case n.Size != hdr.Size:
		return asError(io.ErrUnexpectedEOF)
	}
	return nil
}

// spoolWriter appends to the spool, and keeps its own error apart from those of the
// reader.
type spoolWriter struct {
	t   *Tree
	err error
}

func (w *spoolWriter) Write(b []byte) (int, error) {
	n, err := w.t.spool.WriteAt(b, w.t.size)
	w.t.size += int64(n)
	w.err = err
	return n, err
}

func gigabytes(n int64) string { return fmt.Sprintf("%.1f GB", float64(n)/1e9) }
