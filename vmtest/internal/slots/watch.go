package slots

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// fileWatch notices when a ticket may have been given back: a process has closed the
// file, or died (inotify(7)).
type fileWatch struct{ f *os.File }

func watchFile(path string) (*fileWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init", err)
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_CLOSE_WRITE); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return &fileWatch{os.NewFile(uintptr(fd), "inotify")}, nil
}

// wait returns after the next event, or at once if one came since the last call.
func (w *fileWatch) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { w.f.Close() })
	defer stop()
	buf := make([]byte, 4<<10)
	if _, err := w.f.Read(buf); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("watch queue: %w", err)
	}
	return nil
}

func (w *fileWatch) close() { w.f.Close() }
