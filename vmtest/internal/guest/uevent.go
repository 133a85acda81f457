package guest

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// deviceWait bounds the wait for a device.
const deviceWait = 60 * time.Second

// waitDevice calls found until it returns true: at once, and after each event that
// the kernel announces for a device. It gives up after deviceWait.
//
// Device nodes of virtio appear some time after their driver was loaded. For one, the
// name of a port comes over a control queue.
func waitDevice(what string, found func() (string, bool)) (string, error) {
	events, err := openUevents()
	if err != nil {
		return "", err
	}
	defer events.Close()
	return awaitDevice(what, events.wait, found)
}

// awaitDevice is waitDevice with its source of events. wait returns after an event,
// or after its timeout.
func awaitDevice(what string, wait func(timeout time.Duration) error, found func() (string, bool)) (string, error) {
	deadline := time.Now().Add(deviceWait)
	for {
		if path, ok := found(); ok {
			return path, nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return "", fmt.Errorf("wait for %s: no such device after %v", what, deviceWait)
		}
		if err := wait(left); err != nil {
			return "", fmt.Errorf("wait for %s: %w", what, err)
		}
	}
}

// uevents is a socket with the kernel's events of devices (netlink(7),
// NETLINK_KOBJECT_UEVENT).
type uevents struct {
	fd  int
	buf []byte
}

func openUevents() (*uevents, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open uevent socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind uevent socket: %w", err)
	}
	return &uevents{fd: fd, buf: make([]byte, 16<<10)}, nil
}

func (u *uevents) Close() error { return unix.Close(u.fd) }

// wait does not parse the event: any can mean that the device is there.
func (u *uevents) wait(timeout time.Duration) error {
	tv := unix.NsecToTimeval(max(timeout, time.Microsecond).Nanoseconds()) // 0 is no timeout
	if err := unix.SetsockoptTimeval(u.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return fmt.Errorf("set timeout of uevent socket: %w", err)
	}
	switch _, err := unix.Read(u.fd, u.buf); err {
	case nil, unix.EINTR, unix.EAGAIN, unix.ENOBUFS: // the last: events were lost
		return nil
	default:
		return fmt.Errorf("read uevent: %w", err)
	}
}
