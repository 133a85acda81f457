// Package qmp speaks the QEMU Machine Protocol with one QEMU, through
// digitalocean/go-qemu.
//
// A Client wraps a connected socket. QEMU has inherited the other end as its
// monitor, so the monitor has no path that another process could connect to.
package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/digitalocean/go-qemu/qmp"
)

// Event is an asynchronous message from QEMU.
type Event = qmp.Event

// ErrClosed is wrapped by the errors of Execute once QEMU has closed its monitor.
// As a rule QEMU has exited then.
var ErrClosed = errors.New("QEMU closed its monitor")

// Client is one QMP session. Its methods may be called from several goroutines.
type Client struct {
	monitor *qmp.SocketMonitor
	qemu    *net.UnixConn
	filter  *filter
	turn    chan struct{} // holds a token while no command is unanswered
	last    uint64        // number of the last command; guarded by turn
	done    chan struct{} // closed once the filter has ended
	err     error         // of the filter, once done is closed
}

// NewClient makes the handshake on conn, bounded by ctx. The client owns conn, and
// closes it also when NewClient fails.
//
// The caller must receive from Events until that channel is closed.
func NewClient(ctx context.Context, conn *net.UnixConn) (*Client, error) {
	monitor, ours, err := connectMonitor()
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := &Client{
		monitor: monitor,
		qemu:    conn,
		filter:  newFilter(conn, ours),
		turn:    make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	c.turn <- struct{}{}
	go func() {
		c.err = c.filter.run()
		close(c.done)
	}()
	connected := make(chan error, 1)
	go func() { connected <- monitor.Connect() }()
	select {
	case err = <-connected:
		err = c.explain(err)
	case <-ctx.Done():
		c.qemu.Close()
		<-connected
		err = context.Cause(ctx)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("QMP handshake: %w", err)
	}
	return c, nil
}

// Events delivers QEMU's events in order. The channel is closed when QEMU closes
// the monitor.
func (c *Client) Events() <-chan Event { return c.filter.events }

// Execute runs a QMP command. It marshals arguments to JSON, unless they are nil,
// and unmarshals the "return" member of the answer into result, unless that is nil.
// file, if not nil, is passed along with the command, which is getfd then.
//
// A command runs after those before it have been answered. If ctx ends first,
// Execute returns and the session goes on: a command that is still waiting for its
// turn is not sent, and the answer to one that was sent is dropped when it comes.
// QEMU may have run that command all the same, but it keeps no file of it.
func (c *Client) Execute(ctx context.Context, name string, arguments, result any, file *os.File) error {
	out, err := c.ask(ctx, command{Execute: name, Arguments: arguments}, file)
	if err != nil {
		return fmt.Errorf("QMP %s: %w", name, err)
	}
	if result == nil {
		return nil
	}
	answer := struct {
		Return any `json:"return"`
	}{result}
	if err := json.Unmarshal(out, &answer); err != nil {
		return fmt.Errorf("QMP %s: parse answer: %w", name, err)
	}
	return nil
}

// explain returns err, or ErrClosed if err came with the end of the session.
func (c *Client) explain(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-c.filter.ended:
		<-c.done
		return errors.Join(ErrClosed, c.err)
	default:
		return err
	}
}

// Close ends the session and waits until no goroutine of it is left. QEMU runs on.
func (c *Client) Close() error {
	c.qemu.Close()
	for range c.Events() { // the filter may hold an event that nobody received
	}
	<-c.done
	<-c.turn               // an abandoned command ends with the session
	c.monitor.Disconnect() // its connection is closed already
	c.turn <- struct{}{}
	return c.err
}
