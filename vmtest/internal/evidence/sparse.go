package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
)

// page is the size of what is left out of a file if it is zero, in bytes.
const page = 4096

// maxSize bounds the size of a sparse file with its zeros, in bytes.
const maxSize = 1 << 30

// spare is what sparse files leave of a directory for small ones that come after them, in bytes.
const spare = 64 << 10

// Sparse makes a file of what r returns, of 32 MiB at most without pages of zeros, which take
// no room on the disk, and of 1 GiB with them. Err has what goes wrong, such as the end of ctx.
func (d *Directory) Sparse(ctx context.Context, name string, r io.Reader) {
	d.make(name, func(file *os.File) error {
		sum := sha256.New()
		err := d.sparse(ctx, io.TeeReader(r, sum), file)
		if errClose := file.Close(); err == nil {
			err = errClose
		}
		if err == nil { // else the digest is of more than the file has
			d.note(file.Name(), sum)
		}
		return err
	})
}

func (d *Directory) sparse(ctx context.Context, r io.Reader, file *os.File) error {
	var at int64
	room := int64(d.room(spare))
	left := room
	defer func() { d.used += room - max(left, 0) }()
	buf, zeros := make([]byte, page), make([]byte, page)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := io.ReadFull(r, buf)
		if at+int64(n) > maxSize {
			return fmt.Errorf("it is cut after %d GiB", maxSize>>30)
		}
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
			return file.Truncate(at)
		case err != nil:
			return err
		}
	}
}
