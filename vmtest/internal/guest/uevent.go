package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// deviceWait bounds the wait for a device.
const deviceWait = 60 * time.Second

// waitDevice calls found until it returns true: at once, and after each event that
// the kernel announces for a device. It gives up after deviceWait, or when ctx ends.
//
// Device nodes of virtio appear some time after their driver was loaded. The name of a
// port, for example, comes over a control queue.
func waitDevice(ctx context.Context, what string, found func() (string, bool)) (string, error) {
	events, err := openUevents()
	if err != nil {
		return "", err
	}
	defer events.Close()
	stop := context.AfterFunc(ctx, func() { events.Close() })
	defer stop()
	return awaitDevice(ctx, what, events.wait, found)
}

// awaitDevice is waitDevice with its source of events. wait returns after an event,
// or after its timeout.
func awaitDevice(ctx context.Context, what string, wait func(timeout time.Duration) error, found func() (string, bool)) (string, error) {
	deadline := time.Now().Add(deviceWait)
	for {
		if path, ok := found(); ok {
			return path, nil
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		}
		left := time.Until(deadline)
		if left <= 0 {
			return "", fmt.Errorf("wait for %s: no such device after %v", what, deviceWait)
		}
		if err := wait(left); err != nil && ctx.Err() == nil {
			return "", fmt.Errorf("wait for %s: %w", what, err)
		}
	}
}

// uevents is a socket with the kernel's events of devices (netlink(7),
// NETLINK_KOBJECT_UEVENT).
type uevents struct {
	file *os.File
	buf  []byte
}

func openUevents() (*uevents, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open uevent socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind uevent socket: %w", err)
	}
	return &uevents{file: os.NewFile(uintptr(fd), "uevents"), buf: make([]byte, 16<<10)}, nil
}

func (u *uevents) Close() error { return u.file.Close() }

// wait does not parse the event: any can mean that the device is there.
func (u *uevents) wait(timeout time.Duration) error {
	if err := u.file.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("set timeout of uevent socket: %w", err)
	}
	_, err := u.file.Read(u.buf)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, unix.ENOBUFS) { // the last: events were lost
		return fmt.Errorf("read uevent: %w", err)
	}
	return nil
}
