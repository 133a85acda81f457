package evidence

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// page is the size of what is left out of a file if it is zero, in bytes.
const page = 4096

// maxSize bounds the size of a sparse file with its zeros, in bytes.
const maxSize = 16 << 30

// Sparse makes a file of what r returns, of 32 MiB at most without pages of zeros, which take
// no room on the disk. Err has what goes wrong.
func (d *Directory) Sparse(name string, r io.Reader) {
	if d.full {
		d.lost = append(d.lost, name)
		return
	}
	if err := d.sparse(name, r); err != nil {
		d.fail(name, err)
	}
}

func (d *Directory) sparse(name string, r io.Reader) error {
	file, err := os.OpenFile(filepath.Join(d.path, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	var at int64
	room := int64(d.room())
	left := room
	defer func() { d.used += room - max(left, 0) }()
	buf, zeros := make([]byte, page), make([]byte, page)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 && !bytes.Equal(buf[:n], zeros[:n]) {
			if left -= int64(n); left < 0 {
				return fmt.Errorf("it is cut after %d MiB", room>>20)
			}
			if _, err := file.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if err := file.Truncate(at); err != nil {
				return err
			}
			return file.Close()
		case err != nil:
			return err
		case at > maxSize:
			return fmt.Errorf("it is cut after %d GiB", maxSize>>30)
		}
	}
}
