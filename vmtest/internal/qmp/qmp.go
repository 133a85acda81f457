// Package qmp speaks the QEMU Machine Protocol with one QEMU, through
// digitalocean/go-qemu.
//
// A Client wraps a connected socket whose other end QEMU has inherited as its
// monitor, so there is no path that somebody else could connect to.
package qmp

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/digitalocean/go-qemu/qmp"
)

// Event is an asynchronous message of QEMU's.
type Event = qmp.Event

// ErrClosed is wrapped by what Execute returns once QEMU has closed its monitor,
// that is, as a rule, has exited.
var ErrClosed = errors.New("QEMU closed its monitor")

// dialTimeout bounds a connect to a socket that this process itself listens on.
const dialTimeout = 5 * time.Second

// Client is one QMP session. Its methods may be called from several goroutines.
type Client struct {
	monitor *qmp.SocketMonitor
	qemu    *net.UnixConn
	turn    chan struct{} // holds a token while nobody executes a command
	events  chan Event
	ended   chan struct{} // closed once QEMU's side has ended
	done    chan struct{} // closed once the filter has ended altogether
	err     error         // of the filter, once done is closed
}

// NewClient makes the handshake on conn, bounded by ctx. The client owns conn and
// closes it also when NewClient fails.
//
// Events must be received from Events until it is closed.
func NewClient(ctx context.Context, conn *net.UnixConn) (*Client, error) {
	monitor, ours, err := connectMonitor()
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := &Client{
		monitor: monitor,
		qemu:    conn,
		turn:    make(chan struct{}, 1),
		events:  make(chan Event, 64),
		ended:   make(chan struct{}),
		done:    make(chan struct{}),
	}
	c.turn <- struct{}{}
	f := &filter{qemu: conn, monitor: ours, events: c.events, ended: c.ended}
	go func() {
		c.err = f.run()
		close(c.done)
	}()
	err = c.bounded(ctx, func() error {
		if err := monitor.Connect(); err != nil {
			return fmt.Errorf("QMP handshake: %w", err)
		}
		return nil
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// connectMonitor makes a go-qemu monitor, which insists on dialling, and the
// other end of its connection. The listener is abstract (unix(7)) and open for
// one connection of this very process, so that nothing is left in a file system.
func connectMonitor() (*qmp.SocketMonitor, *net.UnixConn, error) {
	name := "@systemd-vmtest-" + rand.Text()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, nil, fmt.Errorf("listen for QMP monitor: %w", err)
	}
	defer l.Close()
	monitor, err := qmp.NewSocketMonitor("unix", name, dialTimeout)
	if err != nil {
		return nil, nil, fmt.Errorf("connect QMP monitor: %w", err)
	}
	conn, err := l.AcceptUnix()
	if err == nil {
		err = fromThisProcess(conn)
	}
	if err != nil {
		monitor.Disconnect()
		return nil, nil, fmt.Errorf("accept QMP monitor: %w", err)
	}
	return monitor, conn, nil
}

// Events delivers QEMU's events in order, until QEMU closes the monitor.
func (c *Client) Events() <-chan Event { return c.events }

// command is a QMP command as docs/interop/qmp-spec of QEMU has it.
type command struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
}

// Execute runs a QMP command; arguments is marshalled to JSON, nil for none. The
// answer's "return" member is unmarshalled into result unless that is nil. file,
// when not nil, is passed along with the command (for getfd).
func (c *Client) Execute(ctx context.Context, name string, arguments, result any, file *os.File) error {
	msg, err := json.Marshal(command{name, arguments})
	if err != nil {
		return fmt.Errorf("QMP %s: %w", name, err)
	}
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("QMP %s: %w", name, context.Cause(ctx))
	}
	var out []byte
	err = c.bounded(ctx, func() (err error) {
		out, err = c.monitor.RunWithFile(msg, file)
		return err
	})
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

// bounded runs f, which go-qemu may block for ever. When ctx ends first, the
// session is closed: an answer that comes late could not be told from the next
// command's.
func (c *Client) bounded(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	select {
	case err := <-result: // comes also when QEMU's side ends
		if err == nil {
			return nil
		}
		select {
		case <-c.ended:
			<-c.done
			return errors.Join(ErrClosed, c.err)
		default:
			return err
		}
	case <-ctx.Done():
		c.Close()
		<-result
		return context.Cause(ctx)
	}
}

// Close ends the session and waits until nothing of it runs any more. QEMU goes
// on.
func (c *Client) Close() error {
	c.qemu.Close()
	for range c.events { // the filter may hold one that nobody took
	}
	<-c.done
	c.monitor.Disconnect() // its own end of a connection that is closed already
	return c.err
}
