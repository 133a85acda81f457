package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// PortName is the name under which QEMU shows the guest link's virtio-serial
// port to the guest (/sys/class/virtio-ports/*/name).
const PortName = "org.systemd-vmtest.link"

// Port is the guest's end of the link: a virtio-serial port as a stream that
// ends when the host closes its end.
//
// It waits with edge-triggered epoll(7) of its own instead of Go's poller. The
// driver reports a port without a host as readable, at end of file and hung up,
// all at once and for ever; only an edge tells that a host has come.
type Port struct {
	fd       int
	wake     int // eventfd, readable for good once the port is being closed
	readable int // epoll of fd and wake
	writable int // the same, for the other direction

	// users is held shared by whoever uses the descriptors, so that Close
	// cannot take one away under a call and have its number given out anew.
	users  sync.RWMutex
	closed bool
}

// OpenPort waits for the port to appear, opens it, and waits for a host to
// connect, until ctx ends. The caller closes it.
func OpenPort(ctx context.Context) (*Port, error) {
	dev, err := waitDevice("port "+PortName, deviceWait, findPort)
	if err != nil {
		return nil, err
	}
	p := &Port{fd: -1, wake: -1, readable: -1, writable: -1}
	if p.fd, err = unix.Open(dev, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open %s: %w", dev, err)
	}
	if p.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		p.release()
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	if p.readable, err = p.watch(unix.EPOLLIN | unix.EPOLLHUP); err == nil {
		p.writable, err = p.watch(unix.EPOLLOUT | unix.EPOLLHUP)
	}
	if err != nil {
		p.release()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { p.Close() })
	defer stop()
	if err := p.waitHost(); err != nil {
		p.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return p, nil
}

func findPort() (string, bool) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return "", false
	}
	for _, path := range names {
		if data, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(data)) == PortName {
			dev := "/dev/" + filepath.Base(filepath.Dir(path))
			_, err := os.Stat(dev)
			return dev, err == nil
		}
	}
	return "", false
}

// waitHost blocks until the host's end is connected.
func (p *Port) waitHost() error {
	p.users.RLock()
	defer p.users.RUnlock()
	for !p.closed {
		here, err := p.hostHere()
		if here || err != nil {
			return err
		}
		if err := p.wait(p.readable); err != nil {
			return err
		}
	}
	return io.ErrClosedPipe
}

// hostHere tells whether the host's end is connected.
func (p *Port) hostHere() (bool, error) {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, 0)
		switch err {
		case nil:
			return fds[0].Revents&unix.POLLHUP == 0, nil
		case unix.EINTR:
		default:
			return false, fmt.Errorf("poll port: %w", err)
		}
	}
}

// Read implements io.Reader. It returns io.EOF when the host has gone.
func (p *Port) Read(b []byte) (int, error) {
	p.users.RLock()
	defer p.users.RUnlock()
	for !p.closed {
		n, err := unix.Read(p.fd, b)
		switch {
		case n > 0 || len(b) == 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if err := p.wait(p.readable); err != nil {
				return 0, err
			}
		default:
			return 0, fmt.Errorf("read port: %w", err)
		}
	}
	return 0, io.ErrClosedPipe
}

// Write implements io.Writer. It fails with EPIPE when the host has gone; the
// driver itself would have the writer wait for the next host.
func (p *Port) Write(b []byte) (int, error) {
	p.users.RLock()
	defer p.users.RUnlock()
	done := 0
	for !p.closed {
		if done == len(b) {
			return done, nil
		}
		n, err := unix.Write(p.fd, b[done:])
		switch {
		case n > 0: // the driver takes 32 KiB at a time
			done += n
		case err == nil || err == unix.EINTR:
		case err == unix.EAGAIN:
			here, err := p.hostHere()
			if err == nil && !here {
				err = fmt.Errorf("write port: %w", unix.EPIPE)
			}
			if err == nil {
				err = p.wait(p.writable)
			}
			if err != nil {
				return done, err
			}
		default:
			return done, fmt.Errorf("write port: %w", err)
		}
	}
	return done, io.ErrClosedPipe
}

// Close wakes whoever waits on the port and closes it. What the host sent and
// nobody read is dropped by the driver, so that the next OpenPort starts clean.
func (p *Port) Close() error {
	// Wake first: those who wait hold users.
	p.users.RLock()
	if !p.closed {
		one := [8]byte{1}
		if _, err := unix.Write(p.wake, one[:]); err != nil && err != unix.EAGAIN {
			p.users.RUnlock()
			return fmt.Errorf("wake port: %w", err)
		}
	}
	p.users.RUnlock()

	p.users.Lock()
	defer p.users.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return p.release()
}

func (p *Port) release() error {
	var errs []error
	for _, fd := range []int{p.readable, p.writable, p.wake, p.fd} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// watch makes an epoll descriptor for the given edges of the port.
func (p *Port) watch(events uint32) (int, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make epoll: %w", err)
	}
	for _, e := range []unix.EpollEvent{
		{Events: unix.EPOLLIN, Fd: int32(p.wake)},
		{Events: events | unix.EPOLLET, Fd: int32(p.fd)},
	} {
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, int(e.Fd), &e); err != nil {
			unix.Close(epoll)
			return -1, fmt.Errorf("watch port: %w", err)
		}
	}
	return epoll, nil
}

// wait blocks until there is an edge, and fails once the port is being closed.
func (p *Port) wait(epoll int) error {
	var events [2]unix.EpollEvent
	n, err := unix.EpollWait(epoll, events[:], -1)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait for port: %w", err)
	}
	for _, e := range events[:n] {
		if int(e.Fd) == p.wake {
			return io.ErrClosedPipe
		}
	}
	return nil
}
