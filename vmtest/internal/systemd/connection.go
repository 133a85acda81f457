package systemd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"example.org/systemd-vmtest/vmtest/internal/deadline"
)

const (
	managerPath      = "/org/freedesktop/systemd1"
	unitPath         = managerPath + "/unit/"
	managerInterface = "org.freedesktop.systemd1.Manager"
	unitInterface    = "org.freedesktop.systemd1.Unit"
	managerName      = "org.freedesktop.systemd1"
)

// connection is one connection to systemd.
type connection struct {
	raw    *godbus.Conn
	stream *stream     // of raw
	closed atomic.Bool // by the Manager's Close

	// open makes go-systemd's view of raw; see view.
	open func() (*dbus.Conn, error)
}

// view returns go-systemd's view of the connection. The first call asks systemd for signals
// of jobs, as go-systemd does for each new connection, and waits for the answer.
func (c *connection) view(ctx context.Context) (*dbus.Conn, error) {
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		c.open()
	}()
	select {
	case <-opened:
		return c.open()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// stream keeps its first error, which is why a connection ended.
type stream struct {
	net.Conn
	once  sync.Once
	first atomic.Pointer[error]
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err != nil {
		s.fail(err)
		err = *s.first.Load()
	}
	return n, err
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if err != nil {
		s.fail(err)
		err = *s.first.Load()
	}
	return n, err
}

func (s *stream) fail(err error) { s.once.Do(func() { s.first.Store(&err) }) }

const (
	// absence bounds how long systemd's socket may refuse connections, as it does while
	// systemd re-executes itself.
	absence = time.Minute
	// redialPause is the time between two attempts. Nothing announces a socket that
	// begins to listen.
	redialPause = 100 * time.Millisecond
)

// openConnection connects to systemd. It waits while systemd's socket is absent or refuses
// connections.
func openConnection(ctx context.Context, dial func(context.Context) (net.Conn, error), seen *changes) (*connection, error) {
	ctx, cancel := deadline.Within(ctx, deadline.Limit{What: "no connection", Time: absence})
	defer cancel()
	for {
		c, err := handshake(ctx, dial, seen)
		if err == nil {
			return c, nil
		}
		if !absent(err) {
			return nil, err
		}
		select {
		case <-time.After(redialPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; %w", err, context.Cause(ctx))
		}
	}
}

// absent reports whether err is that of a systemd that re-executes itself: its
// socket is gone, or ends a connection that it had not yet accepted.
func absent(err error) bool {
	for _, known := range []error{fs.ErrNotExist, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrClosedPipe} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// handshake connects once. It authenticates as the guest's root, which the agent is. The
// host's user does not exist there.
func handshake(ctx context.Context, dial func(context.Context) (net.Conn, error), seen *changes) (*connection, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, connectError(err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := authenticate(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("authenticate to systemd: %w", cmp.Or(context.Cause(ctx), err))
	}
	return newConnection(ctx, conn, seen)
}

// newConnection returns a connection over conn, whose other end is authenticated. Its signals
// go to seen, too.
func newConnection(ctx context.Context, conn net.Conn, seen *changes) (*connection, error) {
	stream := &stream{Conn: &authenticated{Conn: conn}}
	// The context of a godbus connection ends the connection, so it is not ctx, which
	// ends with this call.
	// The default handler of signals may deliver them out of order.
	handler := watched{godbus.NewSequentialSignalHandler().(signalHandler), seen.see}
	raw, err := godbus.NewConn(stream, godbus.WithSignalHandler(handler))
	if err != nil {
		stream.Close()
		return nil, fmt.Errorf("open D-Bus: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	defer stop()
	c := &connection{raw: raw, stream: stream}
	c.open = sync.OnceValues(func() (*dbus.Conn, error) {
		// go-systemd asks twice, for calls and for signals. One connection does both.
		return dbus.NewConnection(func() (*godbus.Conn, error) { return raw, nil })
	})
	err = raw.Auth([]godbus.Auth{godbus.AuthExternal("0")})
	if cause := context.Cause(ctx); cause != nil { // it closed stream
		err = cause
	}
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("authenticate to systemd: %w", err)
	}
	return c, nil
}

func connectError(err error) error { return fmt.Errorf("connect to systemd: %w", err) }

// close ends the connection. Calls in progress return an error that wraps cause.
func (c *connection) close(cause error) {
	c.stream.fail(cause)
	c.raw.Close()
}

func (c *connection) connected() bool { return c.raw.Connected() }

// lost reports whether a call failed with err because the connection has ended.
func (c *connection) lost(err error) bool {
	end := c.stream.first.Load()
	return !c.connected() || errors.Is(err, errDisconnected) || errors.Is(err, godbus.ErrClosed) ||
		end != nil && errors.Is(err, *end)
}

// closedHere reports whether this host closed the connection, or the link under it.
func (c *connection) closedHere() bool {
	end := c.stream.first.Load()
	return c.closed.Load() || end != nil && errors.Is(*end, net.ErrClosed)
}

// explain returns the error of a call with why the connection ended, if it did.
func (c *connection) explain(err error) error {
	end := c.stream.first.Load()
	if err == nil || end == nil || !c.lost(err) || errors.Is(err, *end) {
		return err
	}
	return fmt.Errorf("%w: %w", err, *end)
}

// ended returns why the connection ended in place of godbus.ErrClosed, whose text blames the
// user. It returns any other err as it is.
func (c *connection) ended(err error) error {
	if end := c.stream.first.Load(); end != nil && errors.Is(err, godbus.ErrClosed) {
		return *end
	}
	return err
}

// call calls a method of the manager and stores its results in ret. If ctx ends first, the
// error is its cause.
func (c *connection) call(ctx context.Context, method string, args []any, ret ...any) error {
	manager := c.raw.Object(managerName, managerPath)
	err := manager.CallWithContext(ctx, managerInterface+"."+method, 0, args...).Store(ret...)
	if err != nil && err == ctx.Err() {
		return context.Cause(ctx)
	}
	if e, ok := err.(godbus.Error); ok && e.Name == managerName+".NoSuchUnit" {
		return noUnit{e}
	}
	return c.ended(err)
}

// ErrNoUnit is in the errors of calls about a unit that does not exist.
var ErrNoUnit = errors.New("there is no such unit")

// noUnit is systemd's answer that a unit does not exist.
type noUnit struct{ answer godbus.Error }

func (e noUnit) Error() string { return e.answer.Error() }

// Is reports whether target is ErrNoUnit.
func (noUnit) Is(target error) bool { return target == ErrNoUnit }

func (e noUnit) Unwrap() error { return e.answer }
