package held

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"syscall"
	"time"
)

// Connect returns a stream on which the agent of the machine in dir serves SSH. ctx bounds
// the opening alone. The caller closes the stream.
func Connect(ctx context.Context, dir string) (*net.UnixConn, error) {
	conn, err := request(ctx, dir, connectRequest)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", filepath.Base(dir), err)
	}
	return conn, nil
}

// Release tells the holder of the machine in dir to go on, which ends the machine.
func Release(ctx context.Context, dir string) error {
	conn, err := request(ctx, dir, releaseRequest)
	if err == nil {
		err = conn.Close()
	}
	if err != nil {
		return fmt.Errorf("release %s: %w", filepath.Base(dir), err)
	}
	return nil
}

// request connects to a holder and sends a request. The caller closes the connection.
func request(ctx context.Context, dir, line string) (_ *net.UnixConn, err error) {
	var conn *net.UnixConn
	err = withSocket(dir, func(path string) error {
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err == nil {
			conn = c.(*net.UnixConn)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("it is not held any more: %w", err)
	}
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			conn.Close()
		}
	}()
	if err := checkPeer(conn); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, line+"\n"); err != nil && !errors.Is(err, syscall.EPIPE) {
		return nil, err
	}
	reply, err := readLine(conn)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("its holder gave no answer: %w", err)
	case reply != answerOK:
		return nil, errors.New(reply)
	}
	return conn, nil
}

// Proxy connects two streams to the agent of the machine in dir, as a ProxyCommand of ssh(1).
// It returns when the holder or the agent has closed the connection. If in ends first, it
// closes the connection.
func Proxy(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	conn, err := Connect(ctx, dir)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	go func() {
		_, _ = io.Copy(conn, in)
		conn.Close()
	}()
	if _, err := io.Copy(out, conn); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("connect to %s: %w", filepath.Base(dir), err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
