package images

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// copyReadable copies a file of an image for a subordinate user.
func copyReadable(from, to string) error {
	in, err := os.Open(from)
	if err == nil {
		defer in.Close()
		err = writeReadable(to, in)
	}
	if err != nil {
		return fmt.Errorf("copy image: %w", err)
	}
	return nil
}

// writeReadable writes a new file that a subordinate user can read, whatever the umask is.
func writeReadable(path string, content io.Reader) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, content); err != nil {
		return err
	}
	return errors.Join(out.Chmod(0o644), out.Close())
}
