package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

// whileGoTest returns a context that also ends when go test ends this program: by SIGQUIT when
// its -timeout is over, or by its own end.
func whileGoTest(ctx context.Context, goTest bool) (context.Context, context.CancelFunc) {
	if !goTest {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, syscall.SIGQUIT)
	began := time.Now()
	go func() {
		defer signal.Stop(quit)
		select {
		case <-quit:
			cancel(fmt.Errorf("go test gave up after %v. It counts the time until the guest is up, too: give it more with -timeout",
				deadline.Brief(time.Since(began))))
		case <-ctx.Done():
		}
	}()
	if fd, err := unix.PidfdOpen(os.Getppid(), unix.PIDFD_NONBLOCK); err == nil {
		parent := os.NewFile(uintptr(fd), "go test")
		go waitParent(ctx, parent, cancel)
	}
	return ctx, func() { cancel(nil) }
}

// waitParent cancels when the process of a pidfd has ended, and returns then or with ctx.
func waitParent(ctx context.Context, parent *os.File, cancel context.CancelCauseFunc) {
	defer parent.Close()
	stop := context.AfterFunc(ctx, func() { _ = parent.SetReadDeadline(time.Now()) })
	defer stop()
	conn, err := parent.SyscallConn()
	if err != nil {
		return
	}
	err = conn.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
	if err == nil {
		cancel(errors.New("go test has ended"))
	}
}
