package guest

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// waitDevice calls found until it says yes, once now and once after each
// event that the kernel announces for a device. It gives up after timeout.
//
// Device nodes of virtio appear some time after their driver was loaded: the
// port's name, for one, travels over a control queue. The kernel's uevents
// (netlink(7), NETLINK_KOBJECT_UEVENT) tell when, so that nothing polls.
func waitDevice(what string, timeout time.Duration, found func() (string, bool)) (string, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return "", fmt.Errorf("open uevent socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return "", fmt.Errorf("bind uevent socket: %w", err)
	}

	deadline := time.Now().Add(timeout)
	buf := make([]byte, 16<<10)
	for {
		if path, ok := found(); ok {
			return path, nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return "", fmt.Errorf("wait for %s: no such device after %v", what, timeout)
		}
		tv := unix.NsecToTimeval(left.Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return "", fmt.Errorf("set uevent deadline: %w", err)
		}
		// ENOBUFS says that events were lost: look again, as after any event.
		switch _, err := unix.Read(fd, buf); err {
		case nil, unix.EINTR, unix.EAGAIN, unix.ENOBUFS:
		default:
			return "", fmt.Errorf("read uevent: %w", err)
		}
	}
}
