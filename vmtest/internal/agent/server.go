// Package agent is the guest's end of the link: an SSH server on a byte stream whose
// other end only the host holds.
//
// It serves "session" channels (exec, shell, with a terminal or without, the sftp subsystem,
// and a request that starts an exact argument vector), direct-tcpip and
// direct-streamlocal@openssh.com. So it serves package link and any SSH client. A channel of
// its own kind carries another SSH connection, which the host passes to other processes.
package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"

	"example.org/systemd-vmtest/vmtest/internal/link/wire"
)

// Server serves SSH on byte streams. Its zero value is ready for use. A Server may
// serve several streams at once and must not be copied.
type Server struct {
	// Log gets a record of each command and each failure; nil discards them.
	Log *slog.Logger

	// Control answers control requests (see link.Client.Control). The name comes
	// without its domain: "wake" for wake@systemd-vmtest. An error's text goes to
	// the client. A connection makes one call at a time, and Serve waits for a call
	// in progress. If Control is nil, all such requests fail.
	Control func(name string, payload []byte) ([]byte, error)

	once   sync.Once
	config *ssh.ServerConfig
	err    error
}

// Serve serves one SSH connection on conn. It returns nil when the peer leaves, ctx's
// error when ctx ends, and another error if the peer breaks the protocol. It sends
// nothing before the peer does, and only ctx bounds that wait.
//
// Serve always closes conn, whose Close must end a Read and a Write in progress. When
// Serve returns, it has killed every process of the sessions that it started. It does
// not find a process that began a session of its own by setsid(2); the control group
// of the agent's unit has it.
func (s *Server) Serve(ctx context.Context, conn io.ReadWriteCloser) error {
	return s.serve(ctx, conn, false)
}

// serve is Serve. A connection that is inside another one makes no control requests, which
// are for the process that started the machine, and carries no connection itself.
func (s *Server) serve(ctx context.Context, conn io.ReadWriteCloser, nested bool) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	config, err := s.serverConfig()
	if err != nil {
		return err
	}
	// No client authentication: the stream is private to the process that started
	// this machine and controls it anyway.
	sshConn, channels, requests, err := ssh.NewServerConn(&stream{ReadWriteCloser: conn}, config)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("shake hands with host: %w", ctx.Err())
		}
		return fmt.Errorf("shake hands with host: %w", err)
	}

	c := &connection{server: s, nested: nested, log: s.logger(), commands: make(map[int]struct{})}
	c.ctx, c.end = context.WithCancel(ctx)
	defer c.end()
	c.tasks.Go(func() { c.serveRequests(requests) })
	for channel := range channels {
		c.tasks.Go(func() { c.serveChannel(channel) })
	}
	c.end()
	err = sshConn.Wait()
	conn.Close()
	c.tasks.Wait()
	killSessions(c.commands)

	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("serve host: %w", ctx.Err())
	case isFarewell(err):
		return nil
	}
	return fmt.Errorf("serve host: %w", err)
}

func (s *Server) logger() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// serverConfig returns the configuration. The first call makes the host key.
func (s *Server) serverConfig() (*ssh.ServerConfig, error) {
	s.once.Do(func() {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			s.err = fmt.Errorf("generate host key: %w", err)
			return
		}
		signer, err := ssh.NewSignerFromSigner(key)
		if err != nil {
			s.err = fmt.Errorf("use host key: %w", err)
			return
		}
		s.config = &ssh.ServerConfig{Config: wire.Algorithms(), NoClientAuth: true, ServerVersion: wire.Version}
		s.config.AddHostKey(signer)
	})
	return s.config, s.err
}

// isFarewell reports whether err is the end of a peer that left, perhaps with our data
// unread. OpenSSH's client ends with SSH_DISCONNECT_BY_APPLICATION (11), for which
// the ssh package exports no type.
func isFarewell(err error) bool {
	return errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		strings.HasPrefix(err.Error(), "ssh: disconnect, reason 11")
}

// connection is a client's connection.
type connection struct {
	server *Server
	nested bool // carried by a channel of another connection
	log    *slog.Logger
	ctx    context.Context // ends with the connection
	end    context.CancelFunc
	tasks  sync.WaitGroup

	listeners listeners

	mu       sync.Mutex
	commands map[int]struct{} // process IDs of all commands, each the leader of a session
}

// serveRequests answers global requests in order (RFC 4254, section 4).
func (c *connection) serveRequests(requests <-chan *ssh.Request) {
	for req := range requests {
		ok, payload := c.control(req)
		if err := req.Reply(ok, payload); err != nil {
			c.log.Debug("reply to global request", "name", req.Type, "err", err)
		}
	}
}

func (c *connection) control(req *ssh.Request) (ok bool, payload []byte) {
	if req.Type == wire.Keepalive {
		return true, nil
	}
	name, ours := strings.CutSuffix(req.Type, wire.Domain)
	if !ours || c.server.Control == nil || c.nested {
		return false, []byte("unknown request " + req.Type)
	}
	payload, err := c.server.Control(name, req.Payload)
	if err == nil && len(payload) > wire.MaxPayload {
		err = fmt.Errorf("reply of %d bytes is above %d", len(payload), wire.MaxPayload)
	}
	if err != nil {
		c.log.Warn("control request", "name", name, "err", err)
		text := err.Error()
		return false, []byte(text[:min(len(text), wire.MaxPayload)])
	}
	return true, payload
}

func (c *connection) serveChannel(channel ssh.NewChannel) {
	switch channel.ChannelType() {
	case "session":
		ch, requests, err := channel.Accept()
		if err != nil {
			c.log.Debug("accept session", "err", err)
			return
		}
		s := &session{conn: c, ch: ch}
		s.serve(requests)
	case "direct-tcpip":
		c.forwardTCP(channel)
	case "direct-streamlocal@openssh.com":
		c.forwardUnix(channel)
	case wire.DialChannel:
		c.forwardDial(channel)
	case wire.ListenChannel:
		c.listen(channel)
	case wire.AcceptChannel:
		c.acceptNext(channel)
	case wire.ConnectionChannel:
		c.serveInside(channel)
	default:
		_ = channel.Reject(ssh.UnknownChannelType, "unknown channel type "+channel.ChannelType())
	}
}

// serveInside serves the SSH connection that a channel carries.
func (c *connection) serveInside(channel ssh.NewChannel) {
	if c.nested {
		_ = channel.Reject(ssh.Prohibited, "a connection inside another one carries none")
		return
	}
	ch, requests, err := channel.Accept()
	if err != nil {
		c.log.Debug("accept connection", "err", err)
		return
	}
	c.tasks.Go(func() { ssh.DiscardRequests(requests) })
	if err := c.server.serve(c.ctx, ch, true); err != nil {
		c.log.Debug("serve connection in a channel", "err", err)
	}
}

// started keeps a command's process ID until the connection ends.
func (c *connection) started(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commands[pid] = struct{}{}
}
