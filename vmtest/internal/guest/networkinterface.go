package guest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waitFor waits until the kernel has found the interface, which in a guest that has just booted
// udev may still load the driver for (virtio_net).
func (i Interface) waitFor() error {
	name := InterfaceName(int(i.NIC))
	_, err := waitDevice(context.Background(), "network interface "+name, func() (string, bool) {
		path := "/sys/class/net/" + name
		_, err := os.Stat(path)
		return path, err == nil
	})
	return err
}

// apply gives the interface its addresses. It does so by ioctl(2) (netdevice(7)) instead of
// netlink(7), which is more code, and an emulator translates all of it in each fork.
func (i Interface) apply() error {
	s, err := openSockets()
	if err != nil {
		return err
	}
	defer s.close()
	// Down: in a fork of a machine that was in a network, its addresses of IPv6 go.
	err = s.call(i.NIC, unix.SIOCSIFFLAGS, "take down", flagsRequest(0))
	if errors.Is(err, unix.ENODEV) {
		if err = i.waitFor(); err == nil {
			err = s.call(i.NIC, unix.SIOCSIFFLAGS, "take down", flagsRequest(0))
		}
	}
	if err != nil {
		return err
	}
	if i.Down {
		return s.call(i.NIC, unix.SIOCSIFADDR, "take IPv4 address", ipv4Request([4]byte{}))
	}
	if err := settleIPv6(InterfaceName(int(i.NIC))); err != nil {
		return err
	}
	index, err := s.index(i.NIC)
	if err != nil {
		return err
	}
	return i.applyDown(s, index)
}

// applyDown is apply for an interface that is down and settled.
func (i Interface) applyDown(s sockets, index int32) error {
	for _, step := range []struct {
		request uint
		what    string
		r       ifreq
	}{
		{unix.SIOCSIFHWADDR, "set address", addressRequest(unix.ARPHRD_ETHER, i.Address[:])},
		{unix.SIOCSIFADDR, "set IPv4 address", ipv4Request(i.IPv4.Addr().As4())},
		{unix.SIOCSIFNETMASK, "set IPv4 mask", ipv4Request([4]byte(net.CIDRMask(i.IPv4.Bits(), 32)))},
		{unix.SIOCSIFFLAGS, "take up", flagsRequest(unix.IFF_UP | unix.IFF_BROADCAST | unix.IFF_MULTICAST)},
	} {
		if err := s.call(i.NIC, step.request, step.what, step.r); err != nil {
			return err
		}
	}
	return s.addIPv6(i.IPv6.Addr().As16(), i.IPv6.Bits(), index)
}

// sockets are what interfaces are set up through.
type sockets struct{ v4, v6 int }

func openSockets() (s sockets, err error) {
	if s.v4, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return s, os.NewSyscallError("socket", err)
	}
	s.v6, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) { // settleIPv6 reports that
		unix.Close(s.v4)
		return s, fmt.Errorf("set up IPv6: %w", os.NewSyscallError("socket", err))
	}
	return s, nil
}

func (s sockets) close() {
	unix.Close(s.v4)
	unix.Close(s.v6)
}

// call does what to an interface.
func (s sockets) call(nic uint8, request uint, what string, r ifreq) error {
	copy(r.name[:], InterfaceName(int(nic)))
	if err := r.ioctl(s.v4, request); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// index returns the kernel's number of an interface.
func (s sockets) index(nic uint8) (int32, error) {
	var r ifreq
	copy(r.name[:], InterfaceName(int(nic)))
	if err := r.ioctl(s.v4, unix.SIOCGIFINDEX); err != nil {
		return 0, fmt.Errorf("read index: %w", err)
	}
	return *(*int32)(unsafe.Pointer(&r.data)), nil
}

// isUp reports whether an interface is up.
func (s sockets) isUp(nic uint8) (bool, error) {
	var r ifreq
	copy(r.name[:], InterfaceName(int(nic)))
	if err := r.ioctl(s.v4, unix.SIOCGIFFLAGS); err != nil {
		return false, fmt.Errorf("read flags: %w", err)
	}
	return *(*uint16)(unsafe.Pointer(&r.data))&unix.IFF_UP != 0, nil
}

// ifreq is struct ifreq (netdevice(7)).
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data [24]byte
}

func (r *ifreq) ioctl(fd int, request uint) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(r))); errno != 0 {
		return errno
	}
	return nil
}

func flagsRequest(flags uint16) (r ifreq) {
	*(*uint16)(unsafe.Pointer(&r.data)) = flags
	return r
}

// addressRequest has a struct sockaddr.
func addressRequest(family uint16, data []byte) (r ifreq) {
	*(*uint16)(unsafe.Pointer(&r.data)) = family
	copy(r.data[2:], data)
	return r
}

func ipv4Request(a [4]byte) ifreq {
	return addressRequest(unix.AF_INET, append([]byte{0, 0}, a[:]...)) // the port comes first
}

// settleIPv6 makes addresses of IPv6 usable at once: the host gives each to one machine, so the
// guest has no duplicates to look for, and no router is there to ask (ip-sysctl in the
// kernel's documentation).
func settleIPv6(name string) error {
	for _, file := range []string{"accept_dad", "accept_ra"} {
		path := "/proc/sys/net/ipv6/conf/" + name + "/" + file
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			return errors.New("the kernel has no IPv6 there")
		}
		if err == nil {
			_, err = unix.Write(fd, []byte("0"))
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil
}

// addIPv6 adds an address to an interface (struct in6_ifreq of linux/ipv6.h).
func (s sockets) addIPv6(address [16]byte, bits int, index int32) error {
	r := struct {
		address [16]byte
		bits    uint32
		index   int32
	}{address, uint32(bits), index}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.v6), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&r)))
	if errno != 0 {
		return fmt.Errorf("add IPv6 address: %w", errno)
	}
	return nil
}
