// Package echo is the server of demo-echo, the reference daemon for socket
// activation: it sends back what it receives until the client half-closes
// (RFC 862), over TCP and AF_UNIX stream sockets that systemd passes to it.
//
// [Inherited] takes the sockets, [Server.Serve] serves them:
//
//	sockets, err := echo.Inherited()
//	...
//	err = (&echo.Server{Log: echo.NewLogger()}).Serve(ctx, sockets)
//
// It opens no socket for clients of its own, so it runs without any right to
// the network. The command is in cmd/demo-echo, its units are in units:
//
//	CGO_ENABLED=0 go build ./echo/cmd/demo-echo
package echo

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// DefaultDrainTimeout is how long open connections may go on after a stop.
const DefaultDrainTimeout = 5 * time.Second

// Server echoes. The zero value is ready to use.
type Server struct {
	// Log gets one record per event, attribute "event": listen, accept, close,
	// accept-error, drain, idle. Nil discards them.
	Log *slog.Logger
	// DrainTimeout bounds how long open connections may go on after a stop;
	// then they are reset. 0 means DefaultDrainTimeout.
	DrainTimeout time.Duration
	// IdleTimeout ends Serve when no connection was open for that long; the
	// socket unit starts the service again with the next client. 0 means never.
	// It has no meaning for a single accepted connection.
	IdleTimeout time.Duration
}

// Serve serves sockets until ctx is done (then it drains), until it was idle for
// IdleTimeout or until the one connection has ended, and closes them. All its
// goroutines have ended their work when it returns. Trouble of one connection is
// logged, not returned; an error means that a listener cannot accept any more.
//
// systemd is told READY=1 and STOPPING=1 where NOTIFY_SOCKET is set (sd_notify(3)).
func (s *Server) Serve(ctx context.Context, sockets Sockets) error {
	if sockets.Conn == nil && len(sockets.Listeners) == 0 {
		return ErrNoSockets
	}
	// A second close, of what ended earlier, is not worth a word.
	defer func() { _ = sockets.Close() }()
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}

	var conns openConns
	for _, l := range sockets.Listeners {
		log.Info("listening", "event", "listen", "listener", l.Name, "address", l.Addr().String())
	}
	notify(log, daemon.SdNotifyReady)
	var err error
	if sockets.Conn != nil {
		serveOne(ctx, &conns, *sockets.Conn, log)
	} else {
		err = s.accept(ctx, &conns, sockets.Listeners, log)
	}
	cause := err
	if cause == nil {
		cause = context.Cause(ctx)
	}
	if cause == nil { // idle, or the one connection has ended
		notify(log, daemon.SdNotifyStopping)
		return nil
	}
	s.drain(&conns, log.With("event", "drain", "cause", cause.Error()))
	return err
}

// serveOne serves the connection of an Accept=yes instance.
func serveOne(ctx context.Context, conns *openConns, conn Conn, log *slog.Logger) {
	// The peer as systemd saw it, systemd.socket(5), Accept=.
	if addr := os.Getenv("REMOTE_ADDR"); addr != "" {
		log = log.With("remote_addr", addr)
	}
	if port := os.Getenv("REMOTE_PORT"); port != "" {
		log = log.With("remote_port", port)
	}
	conns.start(conn, log)
	select {
	case <-conns.none():
	case <-ctx.Done():
	}
}

// drain waits for open connections within the bound, then resets the rest.
func (s *Server) drain(conns *openConns, log *slog.Logger) {
	bound := s.DrainTimeout
	if bound == 0 {
		bound = DefaultDrainTimeout
	}
	log.Info("stopping, open connections may finish", "connections", conns.count(), "bound", bound.String())
	notify(log, daemon.SdNotifyStopping)
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-conns.none():
		log.Info("drained", "closed_hard", 0)
	case <-timer.C:
		n := conns.reset()
		<-conns.none()
		log.Warn("drain bound reached, connections closed hard", "closed_hard", n)
	}
}

func notify(log *slog.Logger, state string) {
	// Serving goes on: systemd's own start timeout deals with a lost READY=1.
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Error("cannot notify systemd", "state", state, "error", err.Error())
	}
}

// closedByUs tells the end of a connection by [openConns.reset] from the client's.
func closedByUs(err error) bool { return errors.Is(err, net.ErrClosed) }
