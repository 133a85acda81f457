package guest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// PortName is the name under which QEMU shows the guest link's virtio-serial
// port to the guest (/sys/class/virtio-ports/*/name).
const PortName = "org.systemd-vmtest.link"

// Port is the guest's end of the link: a virtio-serial port as a stream that
// ends when the host closes its end.
//
// It waits on Go's own poller. A thread of its own in epoll_wait(2) would make the
// runtime start others, code that a fork would have to run before its first answer.
type Port struct {
	file *os.File
	conn syscall.RawConn
}

// OpenPort waits for the port to appear, opens it, and waits for a host to
// connect, until ctx ends. The caller closes it.
func OpenPort(ctx context.Context) (*Port, error) {
	dev, err := waitDevice("port "+PortName, deviceWait, findPort)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(dev, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dev, err)
	}
	p := &Port{file: os.NewFile(uintptr(fd), dev)}
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
	// Without a host the driver reports the port as readable, at end of file and hung
	// up, all at once and for ever. But the poller looks for edges, and a host that
	// comes is one.
	var failure error
	err := p.conn.Read(func(fd uintptr) bool {
		var here bool
		here, failure = hostHere(fd)
		return here || failure != nil
	})
	return cmp.Or(err, failure)
}

// hostHere tells whether the host's end is connected.
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

// Read implements io.Reader. It returns io.EOF when the host has gone.
func (p *Port) Read(b []byte) (int, error) { return p.file.Read(b) }

// Write implements io.Writer. It fails with EPIPE when the host has gone; the
// driver itself would have the writer wait for the next host.
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

// Close ends a Read and a Write in progress and closes the port. What the host sent
// and nobody read is dropped by the driver, so that the next OpenPort starts clean.
func (p *Port) Close() error { return p.file.Close() }
