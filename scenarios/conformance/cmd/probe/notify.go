package main

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// notify sends a message to systemd, with descriptors if there are any (sd_notify(3)).
func notify(message string, fds ...int) error {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	return unix.Sendmsg(s, []byte(message), rights, &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}, 0)
}

// ready sends READY=1. After each SIGHUP it reports a reload, as Type=notify-reload wants.
func ready() error {
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, unix.SIGHUP)
	go func() {
		for range hangUp {
			var now unix.Timespec
			unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
			fmt.Fprintln(os.Stderr, "reloading")
			notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
			notify("READY=1")
		}
	}()
	fmt.Fprintln(os.Stderr, "sending READY=1")
	return notify("READY=1")
}

// store puts a descriptor of that name into systemd's store, unless it has come from there.
func store(name string) error {
	if slices.Contains(strings.Split(os.Getenv("LISTEN_FDNAMES"), ":"), name) {
		return nil
	}
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return notify("FDSTORE=1\nFDNAME="+name, fd)
}
