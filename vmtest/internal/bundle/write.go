package bundle

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/internal/host"
	"example.org/systemd-vmtest/vmtest/internal/snapshots"
)

// Size is what a bundle takes on disk, in bytes.
type Size struct {
	Own    int64
	Shared int64 // of files that it shares with the cache
}

// Scratch returns a bundle without a name, with empty files for a snapshot of that much memory
// in MiB, in the file system of dir. The caller fills them and closes the bundle. The error is
// a *host.Error if they would not fit.
func Scratch(dir string, memory int) (*Bundle, error) {
	files, err := snapshots.ScratchIn(dir, memory)
	return &Bundle{Snapshot: files}, err
}

// Write makes the directory Name in dir of the bundle, whose files the caller has filled. A
// directory of that name is whole: another name becomes it at the end.
func (b *Bundle) Write(ctx context.Context, dir string) (size Size, err error) {
	unfinished, err := os.MkdirTemp(dir, "."+Name+"-")
	if err != nil {
		return size, err
	}
	defer os.RemoveAll(unfinished)
	b.Info.Format, b.Info.Snapshots, b.Info.Files = format, snapshots.Format, make(map[string]File)
	for name, file := range b.files() {
		f, err := put(ctx, *file, filepath.Join(unfinished, name), &size)
		if err != nil {
			return size, fmt.Errorf("write %s: %w", name, err)
		}
		digest, err := digestOf(ctx, name, *file)
		if err != nil {
			return size, fmt.Errorf("read %s: %w", name, err)
		}
		b.Info.Files[name] = File{f, digest}
	}
	data, err := json.MarshalIndent(b.Info, "", "  ")
	if err != nil {
		return size, err
	}
	if err := os.WriteFile(filepath.Join(unfinished, infoName), append(data, '\n'), 0o600); err != nil {
		return size, err
	}
	size.Own += int64(len(data))
	if ctx.Err() != nil {
		return size, context.Cause(ctx)
	}
	return size, os.Rename(unfinished, filepath.Join(dir, Name))
}

// put gives a file a name, or makes a copy of that name where the file is in another file
// system or another user's. It returns the number of the file's bytes, and adds what it takes
// on disk to size.
func put(ctx context.Context, f *os.File, path string, size *Size) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	if host.CheckOwner(path, info) == nil {
		self := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		if unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW) == nil {
			if st.Nlink > 0 {
				size.Shared += st.Blocks * 512
			} else {
				size.Own += st.Blocks * 512
			}
			return info.Size(), nil
		}
	}
	if err := host.CheckSpace(filepath.Dir(path), info.Size(), "a copy of "+filepath.Base(path)); err != nil {
		return 0, err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	n, err := io.Copy(out, host.Reader(ctx, io.NewSectionReader(f, 0, info.Size())))
	size.Own += n
	if err != nil {
		return 0, err
	}
	return n, out.Close()
}
