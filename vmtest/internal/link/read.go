package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pkg/sftp"
)

// maxReadFile is the size in bytes of the largest file that ReadFile reads.
const maxReadFile = 64 << 20

// ErrTooLarge is wrapped by ReadFile's error for a file of more than 64 MiB.
var ErrTooLarge = errors.New("file is larger than 64 MiB; copy it out instead")

// ReadFile returns the content of a regular file in the guest, at most 64 MiB.
// It reads files under /proc and /sys too.
func (c *Client) ReadFile(ctx context.Context, guestPath string) ([]byte, error) {
	content := &limited{left: maxReadFile}
	err := c.transfer(ctx, func(s *session) error {
		_, err := download(ctx, s.Client, guestPath, func(info fs.FileInfo) (io.Writer, error) {
			if info.Size() < 0 || info.Size() > maxReadFile {
				return nil, ErrTooLarge
			}
			content.Grow(int(info.Size()) + bytes.MinRead)
			return content, nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read guest %s: %w", guestPath, err)
	}
	return content.Bytes(), nil
}

// CopyOut copies a regular file, or the target of a symlink, from the guest to
// hostPath. The copy keeps the permission bits and appears under its name complete.
// The directory of hostPath must exist, and hostPath must not be a directory.
//
// Of a directory it copies the regular files and the directories below it, at most 1 GiB, into
// the directory hostPath, which is made if it does not exist. Anything else there, such as a
// symlink, is not copied: CopyOut then returns an error that wraps errors.ErrUnsupported, after it
// has copied all else. A file that is removed meanwhile is left out.
func (c *Client) CopyOut(ctx context.Context, guestPath, hostPath string) error {
	err := c.transfer(ctx, func(s *session) error {
		if isDirectory(s, guestPath) {
			return copyOutTree(ctx, s, guestPath, hostPath)
		}
		return copyOut(ctx, s, guestPath, hostPath)
	})
	if err != nil {
		return fmt.Errorf("copy guest %s to %s: %w", guestPath, hostPath, err)
	}
	return nil
}

func copyOut(ctx context.Context, s *session, guestPath, hostPath string) error {
	if info, err := os.Stat(hostPath); err == nil && info.IsDir() {
		return &fs.PathError{Op: "write", Path: hostPath, Err: syscall.EISDIR}
	}
	var temp *os.File
	mode, err := download(ctx, s.Client, guestPath, func(fs.FileInfo) (_ io.Writer, err error) {
		temp, err = os.CreateTemp(filepath.Dir(hostPath), tempPrefix+"*")
		return temp, err
	})
	if temp == nil {
		return err
	}
	if err == nil {
		err = temp.Chmod(mode.Perm())
	}
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = s.step(func() error { return os.Rename(temp.Name(), hostPath) })
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

// download copies a file to the writer that open returns. It calls open if the file
// exists.
func download(ctx context.Context, client *sftp.Client, guestPath string, open func(fs.FileInfo) (io.Writer, error)) (fs.FileMode, error) {
	if err := checkPath(guestPath); err != nil {
		return 0, err
	}
	// Before the open, because a pipe would block the agent's SFTP server.
	info, err := client.Stat(guestPath)
	if err != nil {
		return 0, err
	}
	if info.IsDir() {
		return 0, syscall.EISDIR
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("not a regular file (%s): %w", info.Mode(), errors.ErrUnsupported)
	}
	file, err := client.Open(guestPath)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	w, err := open(info)
	if err != nil {
		return 0, err
	}
	_, err = file.WriteTo(&boundedWriter{ctx, w})
	return info.Mode(), err
}

// boundedWriter is a writer that fails after ctx has ended.
type boundedWriter struct {
	ctx context.Context
	io.Writer
}

func (b *boundedWriter) Write(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, ended(b.ctx)
	}
	return b.Writer.Write(p)
}

// limited is a buffer that fails when it is full.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, ErrTooLarge
	}
	l.left -= len(p)
	return l.Buffer.Write(p)
}
