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

	"example.org/systemd-vmtest/internal/proc"
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
			cancel(fmt.Errorf("SIGQUIT after %v; go test sends it at its -timeout, which also counts the guest's start",
				deadline.Brief(time.Since(began))))
		case <-ctx.Done():
		}
	}()
	for _, pid := range goCommands(os.Getppid()) {
		if fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK); err == nil {
			go waitParent(ctx, os.NewFile(uintptr(fd), "go"), cancel)
		}
	}
	return ctx, func() { cancel(nil) }
}

// goCommands returns pid, and its ancestors as far as all are the go command: go test starts
// this program itself, or "go tool vmtest exec".
func goCommands(pid int) []int {
	pids := []int{pid}
	for isGo(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			break // it has ended
		}
		stat, err := proc.ParseStat(text)
		if err != nil || !isGo(stat.Parent) {
			break
		}
		pid = stat.Parent
		pids = append(pids, pid)
	}
	return pids
}

// isGo reports whether a process is the go command.
func isGo(pid int) bool {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && string(name) == "go\n"
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
