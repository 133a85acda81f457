package slots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// fileWatch reports when a ticket may have been given back: a process has closed the file,
// or died (inotify(7)).
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

// lookAgain bounds a wait for an event. The kernel sends the event of a close before it
// releases the file's locks, so a look after the last event can be too early. Nothing
// sends an event for memory that other programs free.
const lookAgain = time.Second

// wait returns after the next event, at once if one came since the last call, or after
// lookAgain.
func (w *fileWatch) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { w.f.Close() })
	defer stop()
	if err := w.f.SetReadDeadline(time.Now().Add(lookAgain)); err != nil && ctx.Err() == nil {
		return fmt.Errorf("watch queue: %w", err)
	}
	buf := make([]byte, 4<<10)
	if _, err := w.f.Read(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("watch queue: %w", err)
	}
	return nil
}

func (w *fileWatch) close() { w.f.Close() }
