package link

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"reflect"
	"syscall"

	"github.com/pkg/sftp"
)

// tempPrefix hides files that are not complete yet from systemd and from shells.
const tempPrefix = ".systemd-vmtest-"

// CopyIn copies a file or a folder from the host to guestPath, an absolute path.
//
// A file is written under a hidden name in its folder and renamed, so that it is
// never seen torn under its own; the folder must exist. It keeps its mode,
// replaces a file or a symlink at guestPath, and never a folder. A hostPath that
// is a symlink stands for what it points at.
//
// A folder is copied as CopyFS does it; symlinks in it stay symlinks. Sockets,
// pipes and devices are refused. Owners and times are not kept.
func (c *Client) CopyIn(ctx context.Context, hostPath, guestPath string) error {
	info, err := os.Stat(hostPath)
	if err != nil {
		return fmt.Errorf("copy to guest: %w", err)
	}
	switch {
	case info.IsDir():
		err = c.copyTree(ctx, os.DirFS(hostPath), guestPath)
	case info.Mode().IsRegular():
		err = c.copyFile(ctx, hostPath, guestPath)
	default:
		err = unsupported(info.Mode())
	}
	if err != nil {
		return fmt.Errorf("copy %s to guest %s: %w", hostPath, guestPath, err)
	}
	return nil
}

// CopyFS copies all of fsys into the folder guestDir, an absolute path, which is
// made if its parent exists. Files and symlinks (of an fs.ReadLinkFS) are
// written as CopyIn does it and replace what was there, folders are merged.
// Modes are kept as fsys reports them, which is 0444 for files of an embed.FS;
// folders that were there keep theirs. A copy that fails leaves the files that
// it completed.
func (c *Client) CopyFS(ctx context.Context, fsys fs.FS, guestDir string) error {
	if err := c.copyTree(ctx, fsys, guestDir); err != nil {
		return fmt.Errorf("copy %s to guest %s: %w", fsName(fsys), guestDir, err)
	}
	return nil
}

// fsName is the folder of an os.DirFS, whose own errors leave it out, and "files" for
// other file systems.
func fsName(fsys fs.FS) string {
	if v := reflect.ValueOf(fsys); v.Kind() == reflect.String {
		return v.String()
	}
	return "files"
}

// WriteFile makes a file of data in the guest, as CopyIn does it. Of mode the
// permission bits and setuid, setgid and sticky count.
func (c *Client) WriteFile(ctx context.Context, guestPath string, data []byte, mode fs.FileMode) error {
	err := c.transfer(ctx, func(client *sftp.Client) error {
		return upload{bytes.NewReader(data), int64(len(data)), mode, guestPath}.putSingle(ctx, client)
	})
	if err != nil {
		return fmt.Errorf("write guest %s: %w", guestPath, err)
	}
	return nil
}

func (c *Client) copyFile(ctx context.Context, hostPath, guestPath string) error {
	return c.transfer(ctx, func(client *sftp.Client) error {
		file, err := os.Open(hostPath)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		return upload{file, info.Size(), info.Mode(), guestPath}.putSingle(ctx, client)
	})
}

// upload is one file on its way.
type upload struct {
	from io.Reader
	size int64 // a guess, for the number of packets in flight
	mode fs.FileMode
	to   string
}

// putSingle looks at the destination first: to learn of a folder there only
// after 200 MB would be late.
func (u upload) putSingle(ctx context.Context, client *sftp.Client) error {
	if err := checkPath(u.to); err != nil {
		return err
	}
	if err := checkDestination(client, u.to); err != nil {
		return err
	}
	return u.put(ctx, client)
}

// put writes a temporary file and renames it.
func (u upload) put(ctx context.Context, client *sftp.Client) error {
	temp := tempName(u.to)
	file, err := client.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return explain(client, u.to, err)
	}
	from := &bounded{ctx, u.from}
	if u.size > sftpPacket {
		_, err = file.ReadFromWithConcurrency(from, sftpRequests)
	} else {
		_, err = file.ReadFrom(from)
	}
	if err == nil {
		err = file.Chmod(u.mode)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return install(client, temp, u.to, err)
}

// install gives a finished temporary file its name, or removes it.
func install(client *sftp.Client, temp, to string, err error) error {
	if err == nil {
		err = client.PosixRename(temp, to)
	}
	if err == nil {
		return nil
	}
	err = explain(client, to, err)
	if removeErr := client.Remove(temp); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		return fmt.Errorf("%w (and %s stays: %w)", err, temp, removeErr)
	}
	return err
}

func tempName(guestPath string) string {
	return path.Join(path.Dir(guestPath), tempPrefix+rand.Text())
}

func checkPath(guestPath string) error {
	if !path.IsAbs(guestPath) {
		return fmt.Errorf("guest path %q is not absolute", guestPath)
	}
	return nil
}

func checkDestination(client *sftp.Client, guestPath string) error {
	if info, err := client.Stat(guestPath); err == nil && info.IsDir() {
		return &fs.PathError{Op: "write", Path: guestPath, Err: syscall.EISDIR}
	}
	return nil
}

// explain finds the reason of a failure to write, of which SFTP's status codes
// tell little.
func explain(client *sftp.Client, guestPath string, err error) error {
	if dirErr := checkDestination(client, guestPath); dirErr != nil {
		return dirErr
	}
	parent := path.Dir(guestPath)
	info, statErr := client.Stat(parent)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return fmt.Errorf("folder %s of the guest: %w", parent, fs.ErrNotExist)
	case statErr == nil && !info.IsDir():
		return fmt.Errorf("folder %s of the guest: %w", parent, syscall.ENOTDIR)
	}
	return err
}

func unsupported(mode fs.FileMode) error {
	return fmt.Errorf("neither file, folder nor symlink (%s): %w", mode, errors.ErrUnsupported)
}

// bounded is a reader that fails once ctx has ended.
type bounded struct {
	ctx context.Context
	io.Reader
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, ended(b.ctx)
	}
	return b.Reader.Read(p)
}
