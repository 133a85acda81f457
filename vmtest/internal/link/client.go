// Package link is the host's end of the link to a guest: an SSH client on the
// stream whose other end package agent serves.
//
// Dial makes a Client. Client.Exec runs commands, Client.Dial connects to sockets
// inside the guest, and CopyIn, CopyFS, WriteFile, CopyOut and ReadFile copy files.
// Every call that waits takes a context. It returns soon after the context has
// ended, even if the guest no longer answers.
package link

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/internal/tail"
	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// ErrLost is wrapped by every error of a link that has ended, unless this host ended it
// by Close or Shut.
var ErrLost = errors.New("guest link lost")

// killWait bounds how long a call waits for the guest after its context has ended:
// to kill a command, to remove an incomplete file.
const killWait = 2 * time.Second

// Client is a connection to an agent. Its methods may be called concurrently.
type Client struct {
	stream *stream
	conn   ssh.Conn
	key    ssh.PublicKey
	done   chan struct{}
	files  shared
}

// Dial shakes hands with the agent at the other end of conn. conn then belongs to the
// Client; on an error it is closed. ctx bounds the handshake alone. The stream must
// buffer a few packets, as sockets and serial ports do: over a net.Pipe both ends of
// a key exchange wait for each other to read.
func Dial(ctx context.Context, conn net.Conn) (*Client, error) {
	return dial(ctx, conn, rand.Reader)
}

func dial(ctx context.Context, conn net.Conn, random io.Reader) (*Client, error) {
	s := &stream{Conn: conn}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	config := wire.Algorithms()
	config.Rand = random
	c := &Client{stream: s, done: make(chan struct{})}
	sshConn, channels, requests, err := ssh.NewClientConn(s, "guest", &ssh.ClientConfig{
		Config:        config,
		User:          "root",
		ClientVersion: wire.Version,
		// The stream is a socket pair whose other end QEMU inherited, so the
		// other end is the guest. There is no earlier key to compare with,
		// because the agent makes one at each boot. Or it leads through the
		// socket of the process that holds the machine, which is in a
		// directory of this user alone and whose user the caller has checked.
		HostKeyCallback:   func(_ string, _ net.Addr, key ssh.PublicKey) error { c.key = key; return nil },
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if !stop() && err == nil {
		// ctx ended after the handshake and has closed the stream.
		sshConn.Close()
		err = ctx.Err()
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ended(ctx)
		}
		return nil, fmt.Errorf("shake hands with guest: %w", err)
	}
	if theirs := string(sshConn.ServerVersion()); theirs != wire.Version {
		sshConn.Close()
		return nil, fmt.Errorf("shake hands with guest: %w", &VersionError{theirs})
	}
	c.conn = sshConn
	go ssh.DiscardRequests(requests)
	go func() {
		for channel := range channels {
			_ = channel.Reject(ssh.UnknownChannelType, "the host serves no channels")
		}
	}()
	go func() {
		s.lose(sshConn.Wait())
		close(c.done)
	}()
	return c, nil
}

// Close ends the connection, and every command and connection in the guest that it
// started. Calls in progress, and later ones, return an error that wraps net.ErrClosed,
// or the error that Shut was given. Close may be called more than once.
func (c *Client) Close() error {
	c.Shut(net.ErrClosed)
	c.stream.Close() // its error says that the stream was closed before
	<-c.done
	return nil
}

// Shut makes later calls return an error that wraps err, and those in progress when the
// connection ends. It does not end the connection. Shut does nothing if the connection has
// ended or is shut.
func (c *Client) Shut(err error) { c.stream.fail(err) }

// Done is closed when the link is lost or closed.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns nil while the link is up. Afterwards its error is that of Shut, or wraps
// ErrLost and the cause.
func (c *Client) Err() error { return c.stream.cause() }

// Control sends a control request to the agent and returns its answer. The agent
// defines what name and payload mean; payload has at most wire.MaxPayload bytes. If
// the agent refuses the request, the error is a *ControlError. The agent answers one
// request after the other, and also those whose ctx has ended meanwhile.
func (c *Client) Control(ctx context.Context, name string, payload []byte) ([]byte, error) {
	if len(payload) > wire.MaxPayload {
		return nil, fmt.Errorf("control %s: payload of %d bytes is above %d", name, len(payload), wire.MaxPayload)
	}
	ok, reply, err := c.request(ctx, name+wire.Domain, payload)
	switch {
	case err != nil:
		return nil, fmt.Errorf("control %s: %w", name, err)
	case !ok:
		return nil, &ControlError{Name: name, Message: string(reply)}
	}
	return reply, nil
}

// request sends a global request and waits for the answer.
func (c *Client) request(ctx context.Context, name string, payload []byte) (ok bool, reply []byte, err error) {
	if err := c.Err(); err != nil {
		return false, nil, err
	}
	type answer struct {
		ok      bool
		payload []byte
		err     error
	}
	answered := make(chan answer, 1)
	go func() {
		ok, reply, err := c.conn.SendRequest(name, true, payload)
		answered <- answer{ok, reply, err}
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return false, nil, c.lost(a.err)
		}
		return a.ok, a.payload, nil
	case <-c.done:
		return false, nil, c.Err()
	case <-ctx.Done():
		return false, nil, ended(ctx)
	}
}

// Ping returns when the agent has answered a request that does nothing. The agent
// has then answered all earlier calls of Control.
func (c *Client) Ping(ctx context.Context) error {
	if _, _, err := c.request(ctx, wire.Keepalive, nil); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// ControlError is the error of a Control request that the agent refused.
type ControlError struct {
	Name    string
	Message string // the text of the error in the guest
}

func (e *ControlError) Error() string {
	return fmt.Sprintf("control %s: %s", e.Name, tail.Printable(e.Message))
}

// open opens a channel. If ctx ends first, the channel is closed when the guest opens
// it.
func (c *Client) open(ctx context.Context, kind string, extra []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, ended(ctx)
	}
	if err := c.Err(); err != nil {
		return nil, nil, err
	}
	type opened struct {
		ch       ssh.Channel
		requests <-chan *ssh.Request
		err      error
	}
	result := make(chan opened, 1)
	go func() {
		ch, requests, err := c.conn.OpenChannel(kind, extra)
		result <- opened{ch, requests, err}
	}()
	select {
	case o := <-result:
		if o.err != nil && !errors.As(o.err, new(*ssh.OpenChannelError)) {
			o.err = c.lost(o.err)
		}
		return o.ch, o.requests, o.err
	case <-c.done:
		return nil, nil, c.Err()
	case <-ctx.Done():
		go func() {
			if o := <-result; o.err == nil {
				go ssh.DiscardRequests(o.requests)
				o.ch.Close()
			}
		}()
		return nil, nil, ended(ctx)
	}
}

// lost returns the error of the link if that has ended, and err otherwise. It waits a
// short time, because channels end before the connection's own error is set.
func (c *Client) lost(err error) error {
	if cause := c.Err(); cause != nil {
		return cause
	}
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case <-c.done:
		return c.Err()
	case <-timer.C:
		return err
	}
}

// ended returns ctx's error with its cause. It returns the cause alone if that is a
// deadline, the end of a link, or wraps ctx's error.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	for _, known := range []error{ctx.Err(), context.DeadlineExceeded, ErrLost, net.ErrClosed} {
		if errors.Is(cause, known) {
			return cause
		}
	}
	return fmt.Errorf("%w: %w", ctx.Err(), cause)
}

// stream keeps the connection's first error. It is set before the ssh package closes
// the channels, so the end of a channel's data differs from the loss of the link.
type stream struct {
	net.Conn
	once  sync.Once
	first atomic.Pointer[error]
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err != nil {
		s.lose(err)
		s.Conn.Close() // ends a Write that would block
	}
	return n, err
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if err != nil {
		s.lose(err)
	}
	return n, err
}

// lose notes that the stream has ended because of err, and not by this host's doing.
func (s *stream) lose(err error) { s.fail(fmt.Errorf("%w: %w", ErrLost, err)) }

func (s *stream) fail(err error) {
	s.once.Do(func() { s.first.Store(&err) })
}

func (s *stream) cause() error {
	if err := s.first.Load(); err != nil {
		return *err
	}
	return nil
}
