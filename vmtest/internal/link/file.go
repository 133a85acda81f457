package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// isFile reports whether a network is one of files: FIFOs and message queues.
func isFile(network string) bool { return network == "fifo" || network == "mqueue" }

// fileConn is a connection to a FIFO or a message queue. The guest opens it for reading when
// Read is called, and for writing when Write is, because a process that has it open for reading
// takes what is meant for others.
type fileConn struct {
	client           *Client
	from             Source
	network, address string
	read, write      direction
}

// direction is one direction of a fileConn.
type direction struct {
	use  sync.Mutex // held by a Read or a Write
	mu   sync.Mutex // of what follows
	conn *Conn      // nil while the guest does not have it open

	limit    time.Time
	timer    *time.Timer
	stop     context.CancelFunc // ends a call that opens; nil without one
	isClosed bool
}

// dialFile returns a connection to a FIFO or a message queue that is there.
func (c *Client) dialFile(ctx context.Context, from Source, network, address string) (net.Conn, error) {
	if from.Address != "" {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("a %s has no source address", network)}
	}
	f := &fileConn{client: c, from: from, network: network, address: address}
	conn, err := c.connect(ctx, f.target("", nil))
	if err != nil {
		return nil, err
	}
	conn.Close()
	return f, nil
}

func (f *fileConn) target(op string, message []byte) *target {
	return &target{
		network: f.network,
		kind:    wire.DialChannel,
		payload: ssh.Marshal(wire.Dial{Network: f.network, Address: f.address, User: f.from.User, Op: op, Message: string(message)}),
		local:   f.LocalAddr(),
		remote:  f.RemoteAddr(),
		packets: wire.Packets(f.network),
	}
}

// open returns the connection for an operation, which it opens if there is none.
func (f *fileConn) open(d *direction, op string, message []byte) (*Conn, error) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	d.mu.Lock()
	conn, closed := d.conn, d.isClosed
	d.stop = stop
	d.arm()
	d.mu.Unlock()
	if closed {
		return nil, f.error(op, net.ErrClosed)
	}
	var err error
	if conn == nil {
		conn, err = f.client.connect(ctx, f.target(op, message))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stop = nil
	switch {
	case d.isClosed && conn != nil:
		conn.Close()
		return nil, f.error(op, net.ErrClosed)
	case err == nil:
		d.conn = conn
		return conn, d.set(conn, op)
	case d.isClosed:
		return nil, f.error(op, net.ErrClosed)
	case ctx.Err() != nil:
		return nil, f.error(op, os.ErrDeadlineExceeded)
	}
	return nil, f.error(op, err)
}

// arm has the deadline end a call that opens. d.mu is held.
func (d *direction) arm() {
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.stop != nil && !d.limit.IsZero() {
		d.timer = time.AfterFunc(time.Until(d.limit), d.stop)
	}
}

// set gives the deadline to a connection.
func (d *direction) set(conn *Conn, op string) error {
	if op == wire.ReadOp {
		return conn.SetReadDeadline(d.limit)
	}
	return conn.SetWriteDeadline(d.limit)
}

// setDeadline sets the deadline of the calls of an operation, also of one that waits.
func (d *direction) setDeadline(t time.Time, op string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.isClosed {
		return net.ErrClosed
	}
	d.limit = t
	d.arm()
	if d.conn == nil {
		return nil
	}
	return d.set(d.conn, op)
}

// drop closes the connection; the next call opens another one.
func (d *direction) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

// close ends all calls.
func (d *direction) close() error {
	d.mu.Lock()
	if d.isClosed {
		d.mu.Unlock()
		return net.ErrClosed
	}
	d.isClosed = true
	if d.stop != nil {
		d.stop()
	}
	if d.timer != nil {
		d.timer.Stop()
	}
	d.mu.Unlock()
	d.drop()
	return nil
}

// Read waits for what a process in the guest writes: bytes of a FIFO, or one message. The end of
// a FIFO's data is io.EOF, after which another Read waits for another writer.
func (f *fileConn) Read(p []byte) (int, error) {
	f.read.use.Lock()
	defer f.read.use.Unlock()
	conn, err := f.open(&f.read, wire.ReadOp, nil)
	if err != nil {
		return 0, err
	}
	n, err := conn.Read(p)
	if f.network == "mqueue" && err == nil || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		f.read.drop()
	}
	if err == io.EOF && f.network == "mqueue" {
		err = f.error(wire.ReadOp, io.ErrUnexpectedEOF)
	}
	return n, err
}

// Write writes bytes to a FIFO, or one message to a queue, which then has it. After a deadline the
// queue may still get the message.
func (f *fileConn) Write(p []byte) (int, error) {
	f.write.use.Lock()
	defer f.write.use.Unlock()
	if f.network == "mqueue" {
		if len(p) > wire.MaxPacket {
			return 0, f.error(wire.WriteOp, fmt.Errorf("%w: it has %d bytes, and %d can be sent", syscall.EMSGSIZE, len(p), wire.MaxPacket))
		}
		_, err := f.open(&f.write, wire.WriteOp, p)
		f.write.drop()
		if err != nil {
			return 0, err
		}
		return len(p), nil
	}
	conn, err := f.open(&f.write, wire.WriteOp, nil)
	if err != nil {
		return 0, err
	}
	n, err := conn.Write(p)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		f.write.drop()
	}
	return n, err
}

// CloseWrite closes the FIFO for writing. Data already written is still delivered.
func (f *fileConn) CloseWrite() error { return f.write.close() }

// Close closes both directions. Data already written is still delivered.
func (f *fileConn) Close() error {
	err := f.read.close()
	_ = f.write.close() // CloseWrite may have been before
	return err
}

func (f *fileConn) LocalAddr() net.Addr  { return nameAddr{f.network, ""} }
func (f *fileConn) RemoteAddr() net.Addr { return nameAddr{f.network, f.address} }

// SetDeadline sets the deadlines of Read and Write.
func (f *fileConn) SetDeadline(t time.Time) error {
	if err := f.SetReadDeadline(t); err != nil {
		return err
	}
	return f.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of Read.
func (f *fileConn) SetReadDeadline(t time.Time) error { return f.read.setDeadline(t, wire.ReadOp) }

// SetWriteDeadline sets the deadline of Write.
func (f *fileConn) SetWriteDeadline(t time.Time) error { return f.write.setDeadline(t, wire.WriteOp) }

// error is the error of an operation.
func (f *fileConn) error(op string, err error) error {
	if inner, ok := errors.AsType[*net.OpError](err); ok {
		err = inner.Err
	}
	return f.target("", nil).opError(op, err)
}
