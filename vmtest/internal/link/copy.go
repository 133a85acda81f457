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

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// tempPrefix begins the names of incomplete files. The dot hides them from systemd
// and from shells.
const tempPrefix = ".systemd-vmtest-"

// CopyIn copies a file or a directory from the host to guestPath, an absolute path.
//
// A file is written under a hidden name in its directory and then renamed. So it appears
// under its own name complete. It keeps its mode and replaces a file or a symlink at
// guestPath, but not a directory. Missing directories above it are made, with mode 0755. If
// hostPath is a symlink, its target is copied.
//
// A directory is copied as CopyFS does it, and symlinks in it stay symlinks. Sockets,
// pipes and devices are refused. Owners and times are not kept.
func (f Files) CopyIn(ctx context.Context, hostPath, guestPath string) error {
	info, err := os.Stat(hostPath)
	if err != nil {
		return fmt.Errorf("copy to guest: %w", err)
	}
	switch {
	case info.IsDir():
		err = f.copyTree(ctx, os.DirFS(hostPath), guestPath)
	case info.Mode().IsRegular():
		err = f.copyFile(ctx, hostPath, guestPath)
	default:
		err = unsupported(info.Mode())
	}
	if err != nil {
		return fmt.Errorf("copy %s to guest %s: %w", hostPath, guestPath, err)
	}
	return nil
}

// CopyFS copies all of fsys into the directory guestDir, an absolute path. It makes
// guestDir if that does not exist, and the directories above it as CopyIn does. Files, and
// symlinks of an fs.ReadLinkFS, are written as CopyIn does it and replace what was there.
// Directories are merged. Modes are as fsys reports them, which is 0444 for files of an
// embed.FS; directories that exist keep theirs. A copy that fails leaves the files that it
// completed.
func (f Files) CopyFS(ctx context.Context, fsys fs.FS, guestDir string) error {
	if err := f.copyTree(ctx, fsys, guestDir); err != nil {
		return fmt.Errorf("copy %s to guest %s: %w", fsName(fsys), guestDir, err)
	}
	return nil
}

// fsName returns the directory of an os.DirFS, whose own errors do not have it, and
// "files" for other file systems.
func fsName(fsys fs.FS) string {
	if v := reflect.ValueOf(fsys); v.Kind() == reflect.String {
		return v.String()
	}
	return "files"
}

// WriteFile writes data to a file in the guest, as CopyIn does it. It uses the
// permission bits of mode, and setuid, setgid and sticky.
func (f Files) WriteFile(ctx context.Context, guestPath string, data []byte, mode fs.FileMode) error {
	err := f.transfer(ctx, func(s *session) error {
		return upload{bytes.NewReader(data), int64(len(data)), mode, guestPath}.putSingle(ctx, s)
	})
	if err != nil {
		return fmt.Errorf("write guest %s: %w", guestPath, err)
	}
	return nil
}

func (f Files) copyFile(ctx context.Context, hostPath, guestPath string) error {
	return f.transfer(ctx, func(s *session) error {
		file, err := os.Open(hostPath)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		return upload{file, info.Size(), info.Mode(), guestPath}.putSingle(ctx, s)
	})
}

// upload is a file to be written.
type upload struct {
	from io.Reader
	size int64 // an estimate, from which the number of requests in flight follows
	mode fs.FileMode
	to   string
}

// putSingle is put after a look at the destination. If a directory is there, the
// rename would fail only after all data was sent.
func (u upload) putSingle(ctx context.Context, s *session) error {
	if err := checkPath(u.to); err != nil {
		return err
	}
	if err := checkDestination(s.Client, u.to); err != nil {
		return err
	}
	return u.put(ctx, s)
}

// put writes a temporary file and renames it.
func (u upload) put(ctx context.Context, s *session) error {
	temp := tempName(u.to)
	file, err := s.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeParent(s, u.to); err != nil {
			return err
		}
		file, err = s.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	}
	if err != nil {
		return explain(s.Client, u.to, err)
	}
	from := &bounded{ctx, u.from}
	if u.size > wire.MaxFileData {
		_, err = file.ReadFromWithConcurrency(from, sftpRequests)
	} else {
		_, err = file.ReadFrom(from)
	}
	if err == nil && s.owner != nil {
		err = file.Chown(s.owner.UID, s.owner.GID)
	}
	if err == nil { // after the change of the owner, which clears setuid (chown(2))
		err = file.Chmod(u.mode)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return install(s, temp, u.to, err)
}

// install renames a complete temporary file, or removes it because of err.
func install(s *session, temp, to string, err error) error {
	if err == nil {
		err = s.err()
	}
	if err == nil {
		err = s.PosixRename(temp, to)
	}
	if err == nil {
		return nil
	}
	err = explain(s.Client, to, err)
	if removeErr := s.Remove(temp); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		return fmt.Errorf("%w (and %s is left: %w)", err, temp, removeErr)
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

// explain returns why a write failed. SFTP's status codes alone say little.
func explain(client *sftp.Client, guestPath string, err error) error {
	if dirErr := checkDestination(client, guestPath); dirErr != nil {
		return dirErr
	}
	// SFTP reports a file in the place of any directory above as a failure without a number.
	for dir := path.Dir(guestPath); ; dir = path.Dir(dir) {
		info, statErr := client.Stat(dir)
		switch {
		case statErr == nil && !info.IsDir():
			return fmt.Errorf("directory %s of the guest: %w", dir, syscall.ENOTDIR)
		case statErr == nil, dir == "/":
			return err
		case errors.Is(statErr, fs.ErrNotExist):
			err = fmt.Errorf("directory %s of the guest: %w", dir, fs.ErrNotExist)
		}
	}
}

func unsupported(mode fs.FileMode) error {
	return fmt.Errorf("neither file, directory nor symlink (%s): %w", mode, errors.ErrUnsupported)
}

// bounded is a reader that fails after ctx has ended.
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
