package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"example.org/systemd-vmtest/vmtest/internal/guest"
	"example.org/systemd-vmtest/vmtest/internal/link"
	"example.org/systemd-vmtest/vmtest/internal/qemu"
)

// pid1Port is the port by which a fork is woken, and that then carries its connection to
// PID 1.
type pid1Port struct {
	used   bool // the port has carried a connection
	closed int  // how often the guest had closed it before
}

// openPID1 makes the agent wait at the port, in a machine that is about to be saved.
func (m *Machine) openPID1(ctx context.Context) error {
	if m.pid1.used {
		m.Systemd.Close(net.ErrClosed)
		m.process.Systemd.Close()
		err := m.events.wait(ctx, func(seen events) bool { return seen.systemdClosed > m.pid1.closed })
		if err != nil {
			return fmt.Errorf("wait until the agent has left PID 1: %w", err)
		}
		conn, err := m.rewire(ctx, qemu.SystemdID)
		if err != nil {
			return err
		}
		go func() {
			<-m.Done()
			conn.Close()
		}()
	}
	m.pid1 = pid1Port{true, m.events.now().systemdClosed}
	if _, err := m.Session().Control(ctx, guest.SystemdRequest, nil); err != nil {
		return fmt.Errorf("connect the agent to PID 1: %w", err)
	}
	return nil
}

// resumePID1 wakes the guest by the agent that waits at the port, and makes the stream the
// connection to PID 1.
func (m *Machine) resumePID1(ctx context.Context, w guest.Wake) error {
	frame, err := guest.WakeFrame(w)
	if err != nil {
		return err
	}
	conn := &portConn{UnixConn: m.process.Systemd}
	closed := m.pid1.closed // which openPID1 changes, for a snapshot of this fork
	go func() {
		err := m.events.wait(context.Background(), func(seen events) bool { return seen.systemdClosed > closed })
		if err == nil { // otherwise QEMU has closed the stream
			conn.end()
		}
	}()
	stop := context.AfterFunc(ctx, func() { m.process.Systemd.Close() })
	defer stop()
	if _, err = conn.Write(frame); err == nil {
		err = guest.ReadWoken(conn)
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("%w: %w", link.ErrLost, err)
	}
	if err != nil {
		return fmt.Errorf("wake guest: %w", err)
	}
	return m.Systemd.Resume(ctx, conn)
}

// portConn is a stream behind a port of the guest. QEMU keeps it open when the guest closes
// the port.
type portConn struct {
	*net.UnixConn
	ended atomic.Bool
}

// end makes Read return io.EOF once it has returned what has arrived.
func (c *portConn) end() {
	c.ended.Store(true)
	c.UnixConn.SetReadDeadline(time.Unix(1, 0))
}

func (c *portConn) Read(p []byte) (int, error) {
	n, err := c.UnixConn.Read(p)
	if err == nil || !c.ended.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if controlErr := raw.Control(func(fd uintptr) { n, err = unix.Read(int(fd), p) }); controlErr != nil {
		return 0, controlErr
	}
	if n > 0 {
		return n, nil
	}
	if err == unix.EAGAIN || err == nil {
		err = io.EOF
	}
	return 0, err
}
