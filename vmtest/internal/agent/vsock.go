package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// dialVsock connects to an address of vsock(7). The first socket of this family has the kernel
// load the modules for it, the one of CID 1 (vsock_loopback) included.
func dialVsock(ctx context.Context, address, source string) (net.Conn, error) {
	cid, port, err := wire.ParseVsock(address)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, vsockError(cid, err)
	}
	if err := connectVsock(ctx, fd, &unix.SockaddrVM{CID: cid, Port: port}, source); err != nil {
		unix.Close(fd)
		return nil, vsockError(cid, err)
	}
	return fileConn{os.NewFile(uintptr(fd), "vsock "+address)}, nil
}

func connectVsock(ctx context.Context, fd int, to *unix.SockaddrVM, source string) error {
	limit := unix.NsecToTimeval(connectTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit); err != nil {
		return err
	}
	if source != "" {
		cid, port, err := wire.ParseVsock(source)
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrVM{CID: cid, Port: port}); err != nil {
			return fmt.Errorf("bind to source %s: %w", source, err)
		}
	}
	if err := unix.Connect(fd, to); !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	for ctx.Err() == nil { // the kernel ends it after limit
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 100); err != nil && err != unix.EINTR {
			return err
		}
		errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return err
		}
		if errno != 0 {
			return unix.Errno(errno)
		}
		if _, err := unix.Getpeername(fd); err == nil {
			return nil
		}
	}
	return ctx.Err()
}

// vsockError explains what a kernel without the modules answers.
func vsockError(cid uint32, err error) error {
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: the guest's kernel has no vsock: its image needs the modules vsock and vsock_loopback, and modprobe", err)
	case errors.Is(err, unix.ENODEV) && cid == wire.LocalCID:
		return fmt.Errorf("%w: the guest's kernel has no module vsock_loopback, or could not load it", err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: the guest has no way to CID %d: CID %d is the guest itself", err, cid, wire.LocalCID)
	}
	return err
}

// fileConn is a file of the poller as a connection.
type fileConn struct{ *os.File }

func (c fileConn) LocalAddr() net.Addr  { return nil }
func (c fileConn) RemoteAddr() net.Addr { return nil }

// CloseWrite ends the data to the other end of a socket.
func (c fileConn) CloseWrite() error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if failure := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) }); failure != nil {
		return failure
	}
	return err
}
