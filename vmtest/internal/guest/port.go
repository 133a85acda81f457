package guest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// PortName is the name that the guest sees of the guest link's virtio-serial port
// (/sys/class/virtio-ports/*/name).
const PortName = "org.systemd-vmtest.link"

// Port is the guest's end of the link: a virtio-serial port as a stream that ends
// when the host closes its end.
//
// It waits by Go's own poller. A thread of its own in epoll_wait(2) would make the
// runtime start more threads, which is code that each fork would have to run before
// its first answer.
type Port struct {
	file *os.File
	conn syscall.RawConn
}

// OpenPort waits for the port to appear, opens it, and waits for a host to connect,
// until ctx ends. The error then wraps ctx's cause. The caller closes it.
func OpenPort(ctx context.Context) (*Port, error) {
	dev, err := waitPort(ctx, PortName)
	if err != nil {
		return nil, err
	}
	return openPort(ctx, dev)
}

// waitPort waits for the port with a name to appear, and returns its device.
func waitPort(ctx context.Context, name string) (string, error) {
	return waitDevice(ctx, "port "+name, func() (string, bool) { return findPort("/", name) })
}

func findPort(root, name string) (string, bool) {
	return findDevice(root, "sys/class/virtio-ports/*/name", name)
}

func openPort(ctx context.Context, dev string) (*Port, error) {
	fd, err := unix.Open(dev, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dev, err)
	}
	return newPort(ctx, fd, dev)
}

// newPort waits for a host at the other end of fd, which it owns.
func newPort(ctx context.Context, fd int, name string) (*Port, error) {
	p := &Port{file: os.NewFile(uintptr(fd), name)}
	var err error
	if p.conn, err = p.file.SyscallConn(); err == nil {
		stop := context.AfterFunc(ctx, func() { p.Close() })
		defer stop()
		err = p.waitHost()
	}
	if err != nil {
		p.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("wait for host: %w", err)
	}
	return p, nil
}

// waitHost blocks until the host's end is connected.
func (p *Port) waitHost() error {
	// Without a host the driver reports the port as readable, at end of file and hung
	// up, all at once and without end. But the poller reports only changes, and a host
	// that connects is a change.
	var failure error
	err := p.conn.Read(func(fd uintptr) bool {
		var here bool
		here, failure = hostHere(fd)
		return here || failure != nil
	})
	return cmp.Or(err, failure)
}

// hostHere reports whether the host's end is connected.
func hostHere(fd uintptr) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
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

// Read implements io.Reader. It returns io.EOF after the host has closed its end.
func (p *Port) Read(b []byte) (int, error) { return p.file.Read(b) }

// Write implements io.Writer. It fails with EPIPE after the host has closed its end,
// where the driver itself would wait for the next host.
func (p *Port) Write(b []byte) (done int, err error) {
	var failure error
	err = p.conn.Write(func(fd uintptr) bool {
		for done < len(b) {
			n, err := unix.Write(int(fd), b[done:])
			switch {
			case n > 0: // the driver takes 32 KiB at a time
				done += n
			case err == nil || err == unix.EINTR:
			case err == unix.EAGAIN:
				here, err := hostHere(fd)
				if here {
					return false
				}
				failure = cmp.Or(err, error(unix.EPIPE))
				return true
			default:
				failure = err
				return true
			}
		}
		return true
	})
	if err = cmp.Or(err, failure); err != nil {
		return done, fmt.Errorf("write port: %w", err)
	}
	return done, nil
}

// Close ends a Read and a Write in progress and closes the port. The driver drops what
// the host sent and nobody read, so the next OpenPort finds the port empty.
func (p *Port) Close() error { return p.file.Close() }
