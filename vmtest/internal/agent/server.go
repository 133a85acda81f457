// Package agent is the guest's end of the link: an SSH server on a byte stream,
// for a host that alone holds the other end.
//
// It answers "session" channels (exec, shell without a terminal, the sftp
// subsystem, and a request that starts an exact argument vector),
// direct-tcpip and direct-streamlocal@openssh.com, so that a stock ssh client
// works as well as package link.
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

// Server answers SSH on byte streams. Its zero value is ready. A Server may
// serve several streams at once and must not be copied.
type Server struct {
	// Log gets a record for each command and each failure; nil discards them.
	Log *slog.Logger

	// Control answers the global requests of our own, see link.Client.Control.
	// The name comes without its domain ("clock" for clock@systemd-vmtest). An
	// error's text goes to the client. Calls of one connection follow each
	// other, and Serve waits for the one in progress. With nil every such
	// request fails.
	Control func(name string, payload []byte) ([]byte, error)

	once   sync.Once
	config *ssh.ServerConfig
	err    error
}

// Serve speaks one SSH connection on conn until the peer leaves (nil), ctx ends
// (its error) or the protocol is broken. It sends nothing before the peer has
// spoken, and only ctx bounds the wait for it.
//
// Serve always closes conn, whose Close must end a Read and a Write in
// progress. When Serve returns, every process of a session that it started has
// been killed; a process that began a session of its own by setsid(2) is out of
// its reach and belongs to the control group of whoever runs the agent.
func (s *Server) Serve(ctx context.Context, conn io.ReadWriteCloser) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	config, err := s.serverConfig()
	if err != nil {
		return err
	}
	// No client authentication: the stream is private to the process that
	// started this machine, and whoever holds it holds the machine.
	sshConn, channels, requests, err := ssh.NewServerConn(&stream{ReadWriteCloser: conn}, config)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("shake hands with host: %w", ctx.Err())
		}
		return fmt.Errorf("shake hands with host: %w", err)
	}

	c := &connection{server: s, log: s.logger(), commands: make(map[int]struct{})}
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

// serverConfig makes the host key at the first call.
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
		s.config = &ssh.ServerConfig{Config: wire.Algorithms(), NoClientAuth: true}
		s.config.AddHostKey(signer)
	})
	return s.config, s.err
}

// isFarewell tells a peer that left, be it with our data unread, from a broken
// protocol. OpenSSH's client says goodbye with SSH_DISCONNECT_BY_APPLICATION
// (11), for which the ssh package exports no type.
func isFarewell(err error) bool {
	return errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		strings.HasPrefix(err.Error(), "ssh: disconnect, reason 11")
}

// connection is one client's.
type connection struct {
	server *Server
	log    *slog.Logger
	ctx    context.Context // ends with the connection
	end    context.CancelFunc
	tasks  sync.WaitGroup

	mu       sync.Mutex
	commands map[int]struct{} // process ids of all commands, each its session's leader
}

// serveRequests answers global requests in order, as RFC 4254, section 4, asks.
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
	if !ours || c.server.Control == nil {
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
	default:
		_ = channel.Reject(ssh.UnknownChannelType, "unknown channel type "+channel.ChannelType())
	}
}

// started remembers a command until the connection ends.
func (c *connection) started(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commands[pid] = struct{}{}
}
